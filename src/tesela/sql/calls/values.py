"""What the calls are given and what they tell."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, NamedTuple

import msgspec

from tesela.sql.site import Site
from tesela.sql.speak.base import Speaker

Mode = Literal["keep", "again", "off"]
"""Use kept answers and keep new ones; ask anew and keep; neither."""


class Reply(NamedTuple):
    """What an endpoint answered.  `status` is `again.NO_CONNECTION` where nothing came back, with the reason in
    `body`."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


class Owner(msgspec.Struct, frozen=True):
    """Whose statement it is.  `bearer` is presented with every request, so that permissions and limits are theirs."""

    id: str
    bearer: str
    name: str = ""

    def __repr__(self) -> str:
        return f"Owner({self.id!r})"


Send = Callable[[Owner, str, bytes], Awaitable[Reply]]
"""POST a body to an endpoint's invocations, as somebody.  Never raises for what the endpoint does."""


class Progress(msgspec.Struct):
    """`rows` are done, `kept` of them by an answer that was there, `shared` by one that was under way; `failed` had an
    error of their own; `repeats` are requests that were sent again; tokens are those of new answers."""

    rows: int = 0
    kept: int = 0
    shared: int = 0
    failed: int = 0
    under_way: int = 0
    repeats: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Asked(NamedTuple):
    """One site of a statement: how it speaks, and which configuration of its endpoint is asked."""

    site: Site
    speaker: Speaker
    served: str
