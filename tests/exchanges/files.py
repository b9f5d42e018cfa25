"""The files, as values.

An exchange has two forms where the provider has both, whole and streamed, and one answer that both must give.  Its
`source` says where the reply comes from: `documented` was composed after the page that is named, `recorded` came from
the provider itself on a date.  No file holds a key.
"""

import base64
from pathlib import Path
from typing import Any, Literal

import msgspec

HERE = Path(__file__).parent


class Sent(msgspec.Struct, omit_defaults=True):
    """What goes to the provider.  Of a header whose value is secret, or changes each time, the name stays."""

    path: str
    headers: dict[str, str]
    body: Any


class Reply(msgspec.Struct, omit_defaults=True):
    """What comes back: text as it is, binary as base64."""

    content_type: str
    body: str = ""
    base64: str = ""
    status: int = 200

    def data(self) -> bytes:
        return base64.b64decode(self.base64) if self.base64 else self.body.encode()


def reply(content_type: str, data: bytes, status: int = 200) -> Reply:
    try:
        return Reply(content_type, data.decode(), status=status)
    except UnicodeDecodeError:
        return Reply(content_type, base64=base64.b64encode(data).decode(), status=status)


class Form(msgspec.Struct):
    sent: Sent
    reply: Reply


class Failed(msgspec.Struct, omit_defaults=True):
    """An exchange that ends in an error of ours: its status, its code, and the field at fault if there is one."""

    status: int
    code: str
    param: str | None = None


class Recorded(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One exchange.

    `features` are what it shows that this provider can do in this task, or cannot when it is `refused`, which happens
    before anything is sent.  `settings` are those of the provider in `external_model`, with references for keys.
    """

    source: Literal["documented", "recorded"]
    page: str
    date: str = ""
    provider: str
    model: str
    task: str
    features: tuple[str, ...]
    settings: dict[str, Any]
    asked: dict[str, Any]
    whole: Form | None = None
    stream: Form | None = None
    answer: Any = None
    failed: Failed | None = None
    refused: Failed | None = None

    @property
    def forms(self) -> dict[bool, Form]:
        """Keyed by whether it is a stream."""
        found = {False: self.whole, True: self.stream}
        return {streaming: form for streaming, form in found.items() if form is not None}


def path_of(name: str, root: Path = HERE) -> Path:
    """Where the exchange called `provider/name` is."""
    return root / f"{name}.json"


def names(root: Path = HERE) -> list[str]:
    """Every exchange as `provider/name`."""
    return sorted(str(file.relative_to(root).with_suffix("")) for file in root.glob("*/*.json"))


def load(name: str, root: Path = HERE) -> Recorded:
    return msgspec.json.decode(path_of(name, root).read_bytes(), type=Recorded)


def save(name: str, exchange: Recorded, root: Path = HERE) -> None:
    """Whole or not at all."""
    file = path_of(name, root)
    file.parent.mkdir(exist_ok=True)
    part = file.with_suffix(".part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(exchange), indent=1) + b"\n")
    part.replace(file)
