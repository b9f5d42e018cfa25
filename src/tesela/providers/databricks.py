"""An endpoint of another workspace, called by its invocations path.

https://docs.databricks.com/api/workspace/servingendpoints/query.  It speaks the unified form, so bytes pass both ways.
The endpoint is named by the path; its streams tell their usage in every chunk without being asked.
"""

from base64 import b64encode
from urllib.parse import quote

from tesela.providers.base import Call, Exchange, Provider
from tesela.providers.compatible import address, header
from tesela.providers.reading import Reading, Resolved
from tesela.providers.tokens import client_credentials
from tesela.serving import Upstream
from tesela.wire.document import encode
from tesela.wire.tasks import Task


def translate(call: Call) -> Exchange:
    # The caller named our endpoint, which means nothing there.
    call.document.pop("model", None)
    call.document.pop("stream_options", None)
    return Exchange("", encode(call.document), call.streaming)


DATABRICKS = Provider("databricks", dict.fromkeys((Task.CHAT, Task.COMPLETIONS, Task.EMBEDDINGS), translate))

TOKEN_FIELDS = ("databricks_api_token", "databricks_api_token_plaintext")
CLIENT_FIELDS = ("databricks_client_id", "databricks_client_secret", "databricks_client_secret_plaintext")


def resolve(reading: Reading, task: Task) -> Resolved:
    """A token of the workspace, or the id and secret of a service principal, which is an extension of ours:
    https://docs.databricks.com/aws/en/dev-tools/auth/oauth-m2m"""
    reading.only("databricks_workspace_url", *TOKEN_FIELDS, *CLIENT_FIELDS)
    url = reading.required("databricks_workspace_url", "must be the workspace's address")
    origin, path, query = address(url, reading.where("databricks_workspace_url"))
    if query or path:
        raise reading.wrong("databricks_workspace_url", "must be the workspace's address alone, https://WORKSPACE")
    place = f"/serving-endpoints/{quote(reading.model.name, safe='')}/invocations"
    client = reading.text("databricks_client_id")
    if client is None:
        if any(reading.config.get(name) is not None for name in CLIENT_FIELDS):
            raise reading.wrong("databricks_client_id", "must be there when a client secret is")
        token = reading.secret("databricks_api_token")
        key = header("authorization", f"Bearer {token}", reading.where("databricks_api_token"))
        upstream = Upstream(origin, reading.model.name, place, (key,), reading.timeouts)
        return Resolved(DATABRICKS.name, frozenset({task}), upstream)
    if any(reading.config.get(name) is not None for name in TOKEN_FIELDS):
        raise reading.wrong("", "give databricks_api_token, or databricks_client_id and its secret, not both")
    pair = f"{client}:{reading.secret('databricks_client_secret')}".encode()
    basic = ("authorization", f"Basic {b64encode(pair).decode()}")
    source = client_credentials(
        "the Databricks workspace", origin, "/oidc/v1/token", {"scope": "all-apis"}, headers=(basic,)
    )
    upstream = Upstream(origin, reading.model.name, place, (), reading.timeouts, token=source)
    return Resolved(DATABRICKS.name, frozenset({task}), upstream)
