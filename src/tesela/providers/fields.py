"""What becomes of each field of a request when a provider has another form than ours.

A provider names its translated, ignored, neutral and refused fields; a field that nobody here has heard of goes on as
it came, for the provider may have learned it yesterday.  Nothing is dropped in silence.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from tesela.errors import Unsupported
from tesela.providers.reading import NEEDED
from tesela.wire.document import NULL, Document, value


class Fields(msgspec.Struct, frozen=True):
    """The accounting of one task at one provider.

    `translated` are read by the translation; `ignored` change nothing in an answer, and say why; `neutral` gives the
    values of a refused field that ask for nothing; `refused` says why a field cannot be expressed.
    """

    translated: frozenset[str]
    ignored: Mapping[str, str]
    neutral: Mapping[str, tuple[Any, ...]]
    refused: Mapping[str, str]


def passed(document: Document, fields: Fields, ignore: frozenset[str]) -> Document:
    """What goes on as it came.  The fields that the endpoint ignores are taken out of the document first.

    Null is how clients write "not given", so a null never counts.  Raises Unsupported, naming the field.
    """
    for name in ignore:
        document.pop(name, None)
    out: Document = {}
    for name, raw in document.items():
        if name in fields.translated or name in fields.ignored or raw == NULL:
            continue
        reason = fields.refused.get(name)
        if reason is None:
            out[name] = raw
            continue
        taken = fields.neutral.get(name, ())
        if not taken or value(document, name) not in taken:
            raise unsupported(name, reason, taken)
    return out


def unsupported(name: str, reason: str, taken: tuple[Any, ...] = ()) -> Unsupported:
    """The refusal of a field, with the ways out of it.  `taken` are values that could be sent instead."""
    allowed = " or ".join(msgspec.json.encode(one).decode() for one in taken)
    text = f"{name!r}: {reason}; " + (f"leave it out or send {allowed}" if taken else "leave it out")
    last = name.rpartition(".")[2]
    if last in INSIDE or (last == name and name.isidentifier() and name not in NEEDED):
        text += f", or let the endpoint's owner list {last!r} under `ignore`"
    return Unsupported(text, param=name)


INSIDE = frozenset({"name", "detail", "audio", "function_call"})
"""Fields inside messages that an endpoint may ignore by their own names."""
