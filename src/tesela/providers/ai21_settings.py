"""The settings of provider `ai21labs`: a key, and where another server than AI21's own is to be called."""

from tesela.providers.ai21 import AI21, BASE
from tesela.providers.compatible import address, header
from tesela.providers.reading import Reading, Resolved
from tesela.serving import Upstream
from tesela.wire.tasks import Task


def resolve(reading: Reading, task: Task) -> Resolved:
    """`ai21labs_api_base` is ours: a workspace calls AI21's own address only."""
    reading.only("ai21labs_api_key", "ai21labs_api_key_plaintext", "ai21labs_api_base", "ignore")
    key = header("authorization", f"Bearer {reading.secret('ai21labs_api_key')}", reading.where("ai21labs_api_key"))
    origin, path, query = address(reading.text("ai21labs_api_base") or BASE, reading.where("ai21labs_api_base"))
    if query:
        raise reading.wrong("ai21labs_api_base", f"must be the base of the API, such as {BASE}")
    path = path.removesuffix("/chat/completions")
    upstream = Upstream(origin, reading.model.name, path, (key,), reading.timeouts, ignore=reading.ignore())
    return Resolved(AI21.name, frozenset({task}), upstream)
