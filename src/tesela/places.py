"""Where each setting stands, for sentences about it."""

from collections.abc import Mapping
from difflib import get_close_matches

import msgspec


class Places(msgspec.Struct, frozen=True):
    """Where each setting came from.

    `lines` is keyed by path, `endpoints[0].config.name`; `origins` names another origin (an option, a variable) for
    settings that did not come from the file.
    """

    file: str = ""
    lines: Mapping[str, int] = {}
    origins: Mapping[str, str] = {}

    def __call__(self, path: str) -> str:
        """The beginning of a sentence about the setting at this path."""
        if path in self.origins:
            return self.origins[path]
        if not self.file:
            return path or "the configuration"
        line = self.line(path)
        head = f"{self.file}:{line}" if line else self.file
        return f"{head}: {path}" if path else head

    def line(self, path: str) -> int:
        """The line of the value, or of the nearest thing around it that stands in the file; 0 when unknown."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get("", 0)


def nearest(word: str, known: list[str]) -> str:
    """`; did you mean 'x'?` when one of the known words is close, otherwise what there is to choose from."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known here: {', '.join(sorted(known))}" if known else ""
