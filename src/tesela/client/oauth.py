"""An access token for a service principal, from the id and secret in the environment.

It lasts an hour; whoever takes longer gets another one with the same id and secret.
"""

from collections.abc import Mapping

import requests
from requests.auth import HTTPBasicAuth

from tesela.client import remote
from tesela.errors import ConfigError, UpstreamProtocolError, UpstreamRejected

TOKEN_PATH = "/oidc/v1/token"  # noqa: S105 - a path
FORM = {"grant_type": "client_credentials", "scope": "all-apis"}


def access_token(host: str, environ: Mapping[str, str]) -> str | None:
    """None when the environment names no service principal.  The secret is shown to this host and to no other.

    Raises ConfigError when half of it is there, and UpstreamRejected when the server does not take it.
    """
    client_id, secret = (environ.get(f"DATABRICKS_CLIENT_{part}", "") for part in ("ID", "SECRET"))
    if not (client_id or secret):
        return None
    if not (client_id and secret):
        missing = "DATABRICKS_CLIENT_SECRET" if client_id else "DATABRICKS_CLIENT_ID"
        raise ConfigError(f"{missing} is not set: a service principal signs in with an id and a secret")
    with remote.plain_failures(host), remote.session(host) as session:
        response = session.post(
            host + TOKEN_PATH,
            data=FORM,
            auth=HTTPBasicAuth(client_id.encode(), secret.encode()),
            timeout=(remote.CONNECT_S, remote.READ_S),
            # What is sent here is a secret, and a redirect could take it elsewhere.
            allow_redirects=False,
        )
    return _read(response, host)


def _read(response: requests.Response, host: str) -> str:
    try:
        found = response.json()
    except requests.JSONDecodeError:
        found = None
    told = found if isinstance(found, dict) else {}
    if response.status_code >= 400:
        reason = told.get("error_description") or told.get("message") or told.get("error") or response.reason
        raise UpstreamRejected(
            f"{host} gave no token for DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET: {reason}",
            upstream_status=response.status_code,
        )
    token = told.get("access_token")
    if not isinstance(token, str) or not token:
        raise UpstreamProtocolError(f"{host}{TOKEN_PATH} answered no access token: is this a serving host?")
    return token
