"""The settings of providers that speak OpenAI's form: `openai`, and `custom` for whatever a URL points to."""

from tesela.providers import azure
from tesela.providers.compatible import CUSTOM, CUSTOM_VERBATIM, OPENAI, OPENAI_BASE, address, base, header
from tesela.providers.reading import Reading, Resolved
from tesela.serving import Upstream
from tesela.wire.tasks import Task


def openai(reading: Reading, task: Task) -> Resolved:
    kind = reading.text("openai_api_type") or "openai"
    read = TYPES.get(kind)
    if read is None:
        raise reading.wrong("openai_api_type", f"{kind!r} is no type; it is one of {', '.join(TYPES)}")
    return read(reading, task)


def _openai(reading: Reading, task: Task) -> Resolved:
    reading.only(
        "openai_api_key", "openai_api_key_plaintext", "openai_api_base", "openai_api_type", "openai_organization"
    )
    url = reading.text("openai_api_base")
    key = reading.secret("openai_api_key")
    origin, path, query = address(url or OPENAI_BASE, reading.where("openai_api_base"))
    found = base(path)
    if found is None or query:
        raise reading.wrong("openai_api_base", "must be the base of the API, such as https://api.openai.com/v1")
    headers = [header("authorization", f"Bearer {key}", reading.where("openai_api_key"))]
    organization = reading.text("openai_organization")
    if organization:
        headers.append(header("openai-organization", organization, reading.where("openai_organization")))
    # Servers that imitate OpenAI rarely have the Responses API; without it the gateway derives it from chat.
    native = {Task.RESPONSES} if task is Task.CHAT and url is None else set()
    upstream = Upstream(origin, reading.model.name, found, tuple(headers), reading.timeouts)
    return Resolved(OPENAI.name, frozenset({task} | native), upstream)


TYPES = {"openai": _openai, "azure": azure.with_key, "azuread": azure.with_entra}
"""Values of `openai_api_type`."""


def custom(reading: Reading, task: Task) -> Resolved:
    reading.only("custom_provider_url", "bearer_token_auth", "api_key_auth")
    url = reading.text("custom_provider_url")
    if not url:
        raise reading.wrong("custom_provider_url", "must give the URL of the API, such as http://127.0.0.1:8000/v1")
    origin, path, query = address(url, reading.where("custom_provider_url"))
    found = base(path)
    headers = custom_auth(reading)
    if found is None or query:
        whole = path + (f"?{query}" if query else "")
        upstream = Upstream(origin, reading.model.name, whole, headers, reading.timeouts)
        return Resolved(CUSTOM_VERBATIM.name, frozenset({task}), upstream)
    upstream = Upstream(origin, reading.model.name, found, headers, reading.timeouts)
    return Resolved(CUSTOM.name, frozenset({task}), upstream)


def custom_auth(reading: Reading) -> tuple[tuple[str, str], ...]:
    """The header that holds the key.  None at all is right for a server of one's own that asks for none."""
    bearer, api_key = (reading.config.get(key) is not None for key in ("bearer_token_auth", "api_key_auth"))
    if bearer and api_key:
        raise reading.wrong("", "give only one of bearer_token_auth and api_key_auth")
    if bearer:
        auth = reading.inner("bearer_token_auth")
        auth.only("token", "token_plaintext")
        return (header("authorization", f"Bearer {auth.secret('token')}", auth.where("")),)
    if api_key:
        auth = reading.inner("api_key_auth")
        auth.only("key", "value", "value_plaintext")
        name = auth.text("key")
        if not name:
            raise auth.wrong("key", "must name the header that carries the key, such as `x-api-key`")
        return (header(name.lower(), auth.secret("value"), auth.where("")),)
    return ()
