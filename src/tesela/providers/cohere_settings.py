"""The settings of provider `cohere`: a key, and where another server than Cohere's own is to be called."""

from tesela.providers.cohere import BASE, COHERE
from tesela.providers.compatible import address, header
from tesela.providers.reading import Reading, Resolved
from tesela.serving import Upstream
from tesela.wire.tasks import Task


def resolve(reading: Reading, task: Task) -> Resolved:
    reading.only("cohere_api_key", "cohere_api_key_plaintext", "cohere_api_base", "ignore")
    key = header("authorization", f"Bearer {reading.secret('cohere_api_key')}", reading.where("cohere_api_key"))
    origin, path, query = address(reading.text("cohere_api_base") or BASE, reading.where("cohere_api_base"))
    if query:
        raise reading.wrong("cohere_api_base", f"must be the base of the API, such as {BASE}")
    # Cohere's own clients take the base without a version; people copy all forms.
    path = path.removesuffix("/v1").removesuffix("/v2")
    upstream = Upstream(origin, reading.model.name, path, (key,), reading.timeouts, ignore=reading.ignore())
    return Resolved(COHERE.name, frozenset({task}), upstream)
