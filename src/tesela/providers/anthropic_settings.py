"""The settings of provider `anthropic`: a key, and where another server than Anthropic's own is to be called."""

from tesela.providers.anthropic import ANTHROPIC, BASE
from tesela.providers.compatible import address, header
from tesela.providers.reading import Reading, Resolved
from tesela.serving import Upstream
from tesela.wire.tasks import Task


def resolve(reading: Reading, task: Task) -> Resolved:
    reading.only("anthropic_api_key", "anthropic_api_key_plaintext", "anthropic_api_base", "ignore")
    key = header("x-api-key", reading.secret("anthropic_api_key"), reading.where("anthropic_api_key"))
    url = reading.text("anthropic_api_base") or BASE
    origin, path, query = address(url, reading.where("anthropic_api_base"))
    if query:
        raise reading.wrong("anthropic_api_base", f"must be the base of the API, such as {BASE}")
    # Anthropic's own clients take the base without `/v1`; people copy all three forms.
    path = path.removesuffix("/messages").removesuffix("/v1")
    upstream = Upstream(origin, reading.model.name, path, (key,), reading.timeouts, ignore=reading.ignore())
    return Resolved(ANTHROPIC.name, frozenset({task}), upstream)
