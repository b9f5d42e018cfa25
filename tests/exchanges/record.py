"""`make record PROVIDER=…`: asks a provider what its exchanges ask, and keeps what it answers.

Keys come from the environment.  What is sent is what our translation makes; the replies take the place of the
documented ones, with keys, and whatever names an account or a request, taken out.  A reply that our translation cannot
read, or a status that the exchange did not expect, is told and changes nothing.
"""

import datetime
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import requests
from tests.exchanges import files, translate
from tests.exchanges.features import FEATURES
from tests.exchanges.files import Form, Recorded

from tesela.errors import ConfigError, TeselaError
from tesela.serving import TokenSource, Upstream
from tesela.wire.tasks import Task

VARIABLES: Mapping[str, dict[str, str]] = {
    "ai21labs": {"env:KEY": "AI21_API_KEY"},
    "amazon-bedrock": {"env:KEY_ID": "AWS_ACCESS_KEY_ID", "env:KEY": "AWS_SECRET_ACCESS_KEY"},
    "anthropic": {"env:KEY": "ANTHROPIC_API_KEY"},
    "azure-openai": {"env:KEY": "AZURE_OPENAI_API_KEY"},
    "cohere": {"env:KEY": "COHERE_API_KEY"},
    "custom": {"env:KEY": "CUSTOM_API_KEY"},
    "databricks-model-serving": {"env:KEY": "DATABRICKS_TOKEN"},
    "google-cloud-vertex-ai": {"env:ACCOUNT": "GOOGLE_SERVICE_ACCOUNT_JSON"},
    "openai": {"env:KEY": "OPENAI_API_KEY"},
}
"""Of each folder of exchanges: the variable behind each reference in its settings."""
PATIENCE_S = 120
NAMING = re.compile(
    r'("(?:organization|account_id|user_id|request_id|system_fingerprint|apiKeyId)"\s*:\s*)"[^"]*"'
    r"|((?:req|org|acct)[_-])[A-Za-z0-9]{6,}"
)
"""What a reply says of who asked."""


def main(arguments: list[str], environ: Mapping[str, str], root: Path = files.HERE) -> str:
    """Record one provider's exchanges.  Returns what is to be said; raises ConfigError for what is missing."""
    if len(arguments) != 1 or arguments[0] not in VARIABLES:
        raise ConfigError(f"make record PROVIDER=… takes one of {', '.join(sorted(VARIABLES))}")
    folder = arguments[0]
    wanted = list(VARIABLES[folder].values()) + ([BASE] if folder in ELSEWHERE else [])
    missing = [variable for variable in wanted if not environ.get(variable)]
    if missing:
        raise ConfigError(f"to record {folder}, export {' and '.join(missing)}")
    secrets = {reference: environ[variable] for reference, variable in VARIABLES[folder].items()}
    said = []
    for name in files.names(root):
        if name.startswith(f"{folder}/"):
            said.append(f"{name}: {_recorded(name, secrets, environ.get(BASE), root)}")
    return "\n".join(said)


BASE = "RECORD_BASE_URL"
"""Where the provider is called instead of at its own address."""
ELSEWHERE = frozenset({"azure-openai", "custom", "databricks-model-serving"})
"""Folders whose exchanges have an address that is nobody's."""


def _recorded(name: str, secrets: Mapping[str, str], base: str | None, root: Path) -> str:
    exchange = files.load(name, root)
    if exchange.refused is not None or exchange.failed is not None:
        return "not asked: nothing is sent, or only by mistake"
    provider, upstream = translate.entity(exchange, dict(secrets), base)
    _, documented = translate.entity(exchange, dict(secrets))
    answer = None
    for streaming in exchange.forms:
        made = translate.made(exchange, upstream, provider, streaming=streaming)
        told = _ask(upstream, made.path, made.headers, made.body)
        kind = told.headers.get("content-type", "").partition(";")[0]
        if told.status_code != 200:
            return f"status {told.status_code}: {_scrubbed(told.content, secrets)[:200].decode(errors='replace')}"
        # The request is kept as it goes to the provider's own address.
        again = translate.made(exchange, documented, provider, streaming=streaming)
        sent = translate.sent(again, documented, secrets.values())
        form = Form(sent, files.reply(kind, _scrubbed(told.content, secrets)))
        try:
            found = translate.answered(made, form.reply, Task(exchange.task))
        except TeselaError as exc:
            return f"cannot be read: {exc.message}"
        answer = answer or found
        exchange = _with(exchange, streaming, form)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    exchange = msgspec.structs.replace(exchange, source="recorded", date=today, answer=answer)
    lost = [feature for feature in exchange.features if not FEATURES[feature](exchange)]
    if lost:
        return f"left as it is: the answer does not show {', '.join(lost)}"
    files.save(name, exchange, root)
    return "recorded"


def _with(exchange: Recorded, streaming: bool, form: Form) -> Recorded:
    if streaming:
        return msgspec.structs.replace(exchange, stream=form)
    return msgspec.structs.replace(exchange, whole=form)


def _ask(upstream: Upstream, path: str, headers: tuple[tuple[str, str], ...], body: bytes) -> requests.Response:
    """Compressed replies are not asked for, so that what is kept is what came."""
    found = dict((*upstream.headers, *headers)) | {"accept-encoding": "identity", "content-type": "application/json"}
    if upstream.token is not None:
        found["authorization"] = f"Bearer {_token(upstream.token)}"
    return requests.post(_url(upstream, path), body, headers=found, timeout=PATIENCE_S)


def _url(upstream: Upstream, path: str) -> str:
    where = f"{upstream.origin.scheme}://{upstream.origin.authority}{upstream.base_path}{path}"
    return where if not upstream.query else f"{where}{'&' if '?' in path else '?'}{upstream.query}"


def _token(source: TokenSource) -> str:
    headers = {"content-type": "application/x-www-form-urlencoded", **dict(source.upstream.headers)}
    form = source.form(int(time.time()))
    told = requests.post(_url(source.upstream, ""), form, headers=headers, timeout=PATIENCE_S)
    told.raise_for_status()
    return str(told.json()["access_token"])


def _scrubbed(data: bytes, secrets: Mapping[str, str]) -> bytes:
    for secret in secrets.values():
        data = data.replace(secret.encode(), b"***")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        # A binary stream has checksums over its bytes, and names nobody.
        return data
    return NAMING.sub(lambda match: f'{match[1]}"***"' if match[1] else f"{match[2]}0", text).encode()


if __name__ == "__main__":
    try:
        sys.stdout.write(main(sys.argv[1:], os.environ) + "\n")
    except ConfigError as exc:
        sys.exit(exc.message)
