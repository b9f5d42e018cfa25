"""Azure OpenAI: OpenAI's form at the address of a deployment, with a key or with tokens of Microsoft Entra.

https://learn.microsoft.com/en-us/azure/ai-foundry/openai/reference.  Bytes pass both ways.  Streams of versions of the
API that do not know `stream_options` are not asked for their usage.
"""

import re
from urllib.parse import quote

from tesela.providers.base import Call, Exchange, Provider
from tesela.providers.compatible import address, header
from tesela.providers.reading import Reading, Resolved
from tesela.providers.tokens import client_credentials
from tesela.providers.unified import STREAMED, unasked
from tesela.serving import TokenSource, Upstream
from tesela.wire.tasks import Task

_TASKS = (Task.CHAT, Task.COMPLETIONS, Task.EMBEDDINGS)
AZURE = Provider("azure", dict.fromkeys(_TASKS))

USAGE_SINCE = "2024-09-01"
"""The first version whose streams can be asked for usage:
https://learn.microsoft.com/en-us/azure/ai-services/openai/whats-new"""


def translate(call: Call) -> Exchange:
    return unasked(call.task, call.document, call.streaming, call.upstream)


AZURE_EARLIER = Provider("azure-earlier", dict.fromkeys(_TASKS, translate))

KEY_FIELDS = ("openai_api_key", "openai_api_key_plaintext")
ENTRA_FIELDS = (
    "microsoft_entra_tenant_id",
    "microsoft_entra_client_id",
    "microsoft_entra_client_secret",
    "microsoft_entra_client_secret_plaintext",
    "microsoft_entra_authority",
    "microsoft_entra_scope",
)
COMMON_FIELDS = (
    "openai_api_type", "openai_api_base", "openai_api_version", "openai_deployment_name", "openai_organization"
)  # fmt: skip
AUTHORITY = "https://login.microsoftonline.com"
TOKEN_SCOPE = "https://cognitiveservices.azure.com/.default"  # noqa: S105 - the name of an audience


def with_key(reading: Reading, task: Task) -> Resolved:
    reading.only(*COMMON_FIELDS, *KEY_FIELDS)
    key = header("api-key", reading.secret("openai_api_key"), reading.where("openai_api_key"))
    return _deployment(reading, task, key, None)


def with_entra(reading: Reading, task: Task) -> Resolved:
    reading.only(*COMMON_FIELDS, *ENTRA_FIELDS)
    return _deployment(reading, task, None, _entra(reading))


def _deployment(reading: Reading, task: Task, key: tuple[str, str] | None, token: TokenSource | None) -> Resolved:
    base = reading.required("openai_api_base", "must be the resource's address, https://NAME.openai.azure.com")
    version = reading.required("openai_api_version", "must be a version of Azure's API, such as 2024-10-21")
    deployment = reading.required("openai_deployment_name", "must name the deployment")
    if not _VERSION.match(version):
        raise reading.wrong("openai_api_version", f"{version!r} is not a version such as 2024-10-21")
    origin, path, query = address(base, reading.where("openai_api_base"))
    if query or "/deployments/" in path:
        raise reading.wrong(
            "openai_api_base", "must be the resource's address alone; the deployment and the version have their own"
        )
    place = f"{path.removesuffix('/openai')}/openai/deployments/{quote(deployment, safe='')}"
    upstream = Upstream(
        origin,
        reading.model.name,
        place,
        (key,) if key else (),
        reading.timeouts,
        query=f"api-version={version}",
        token=token,
    )
    provider = AZURE if version >= USAGE_SINCE or task not in STREAMED else AZURE_EARLIER
    return Resolved(provider.name, frozenset({task}), upstream)


_VERSION = re.compile(r"^\d{4}-\d{2}-\d{2}(-[a-z0-9.-]+)?\Z|^v1\Z|^preview\Z")


def _entra(reading: Reading) -> TokenSource:
    """https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow"""
    tenant = reading.required("microsoft_entra_tenant_id", "must be the id or domain of the tenant")
    fields = {
        "client_id": reading.required("microsoft_entra_client_id", "must be the id of the application"),
        "client_secret": reading.secret("microsoft_entra_client_secret"),
        "scope": reading.text("microsoft_entra_scope") or TOKEN_SCOPE,
    }
    authority = reading.text("microsoft_entra_authority") or AUTHORITY
    origin, path, query = address(authority, reading.where("microsoft_entra_authority"))
    if query:
        raise reading.wrong("microsoft_entra_authority", f"must be an address such as {AUTHORITY}")
    place = f"{path}/{quote(tenant, safe='')}/oauth2/v2.0/token"
    return client_credentials("Microsoft Entra", origin, place, fields)
