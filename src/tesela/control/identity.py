"""What clients ask while they start: where to sign in, which workspace this is, who they are, whether we are well.

The first two and the last answer without a credential, at once, and from memory: the Databricks SDK asks them at every
construction and MLflow before every call.
"""

from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from tesela.control.answers import Handler, body, json
from tesela.control.facts import Facts, base_url, credential

NO_STORE = {"cache-control": "no-store"}

PAT_ONLY = (
    "this server does not give out OAuth tokens yet: use a personal access token (DATABRICKS_TOKEN, made with "
    "'tesela tokens create')"
)


def databricks_config(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        return json(
            {
                "oidc_endpoint": f"{base_url(request, facts)}/oidc",
                "account_id": facts.account_id,
                "workspace_id": str(facts.workspace_id),
                "cloud": "aws",
            }
        )

    return handler


def oauth_server(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        issuer = f"{base_url(request, facts)}/oidc"
        return json(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/v1/authorize",
                "token_endpoint": f"{issuer}/v1/token",
                "grant_types_supported": [],
                "response_types_supported": [],
            }
        )

    return handler


async def oauth_token(request: Request) -> Response:
    """Gives nothing.  The error has OAuth's shape (RFC 6749, section 5.2), the only one that clients read here."""
    form = parse_qs((await body(request)).decode("utf-8", "replace"))
    grant = form.get("grant_type", [""])[0]
    if not grant:
        missing = {"error": "invalid_request", "error_description": f"grant_type is missing; and {PAT_ONLY}"}
        return json(missing, 400, NO_STORE)
    if grant == "client_credentials":
        refused = {"error": "invalid_client", "error_description": PAT_ONLY}
        return json(refused, 401, {**NO_STORE, "www-authenticate": 'Basic realm="tesela"'})
    return json({"error": "unsupported_grant_type", "error_description": PAT_ONLY}, 400, NO_STORE)


def me(facts: Facts) -> Handler:
    """The caller, as SCIM describes a user (RFC 7643, section 4.1)."""

    async def handler(request: Request) -> Response:
        principal = credential(request).principal
        groups = ("admins", "users") if principal.admin else ("users",)
        return json(
            {
                "schemas": [
                    "urn:ietf:params:scim:schemas:core:2.0:User",
                    "urn:ietf:params:scim:schemas:extension:workspace:2.0:User",
                ],
                "id": principal.id,
                "userName": principal.name,
                "displayName": principal.display_name or principal.name,
                "name": {"givenName": principal.display_name or principal.name},
                "emails": [{"type": "work", "value": principal.name, "primary": True}],
                "active": True,
                "groups": [
                    {"display": name, "value": name, "type": "direct", "$ref": f"Groups/{name}"} for name in groups
                ],
                "entitlements": [{"value": "workspace-access"}],
            },
            headers={"x-databricks-org-id": str(facts.workspace_id)},
        )

    return handler


def health(facts: Facts) -> Handler:
    async def handler(_request: Request) -> Response:
        wrong = facts.health()
        if wrong is None:
            return json({"status": "ok"}, headers=NO_STORE)
        return json({"status": "unavailable", "message": wrong}, 503, NO_STORE)

    return handler
