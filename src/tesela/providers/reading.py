"""Reads the settings of an external model: strings, references to secrets, and sentences about what is wrong.

Keys are resolved here and go into headers; no message shows one.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import msgspec

from tesela.errors import ConfigError
from tesela.serving import ExternalModel, Timeouts, Upstream
from tesela.wire.tasks import Task

Place = Callable[[str], str]
"""The beginning of a sentence about the setting at a path."""


class Reading(msgspec.Struct, frozen=True):
    """What a row gets to read: the provider's settings, and what it needs to make sense of them.

    `at` is the path of the settings, for messages; `secrets` gives the value of each reference; `endpoint` tells equal
    paths of two endpoints apart.
    """

    model: ExternalModel
    config: Mapping[str, Any]
    at: str
    place: Place
    secrets: Mapping[str, str]
    timeouts: Timeouts
    endpoint: str = ""

    def where(self, key: str) -> str:
        """The beginning of a sentence about one setting."""
        return self.place(f"{self.at}.{key}" if key else self.at)

    def wrong(self, key: str, what: str) -> ConfigError:
        return ConfigError(f"{self.where(key)}: {what}")

    def text(self, key: str) -> str | None:
        """An optional setting that must be a string."""
        value = self.config.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.wrong(key, "must be a string")
        return self._resolved(key, value)

    def required(self, key: str, what: str) -> str:
        """A string that must be there.  `what` ends the sentence that says so."""
        found = self.text(key)
        if not found:
            raise self.wrong(key, what)
        return found

    def secret(self, key: str) -> str:
        """A setting that is given once: as a reference, or as it is in its `_plaintext` twin."""
        twin = f"{key}_plaintext"
        given = [name for name in (key, twin) if self.config.get(name) not in (None, "")]
        if len(given) != 1:
            raise self.wrong("", f"give exactly one of {key} and {twin}" + (", not both" if given else ""))
        value = self.text(given[0])
        if given[0] == key and value == self.config[key]:
            raise self.wrong(
                key,
                "must be a reference: `{{secrets/scope/key}}`, or in the file `env:NAME` for a variable; to write the "
                f"key itself use {twin}",
            )
        return value or ""

    def inner(self, key: str) -> "Reading":
        """The settings in a mapping of their own."""
        value = self.config.get(key)
        if not isinstance(value, dict):
            raise self.wrong(key, "must be a mapping")
        return msgspec.structs.replace(self, config=value, at=f"{self.at}.{key}")

    def only(self, *known: str) -> None:
        """Refuse settings that this provider does not have."""
        for key in self.config:
            if key not in known:
                close = get_close_matches(key, known, n=1)
                more = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
                raise self.wrong(key, f"there is no such setting; {more}")

    def no_task(self, task: Task, can: Iterable[Task]) -> ConfigError:
        """The refusal of a task that the provider does not have."""
        at = f"{self.at.rpartition('.')[0]}.task"
        has = ", ".join(sorted(can))
        return ConfigError(f"{self.place(at)}: provider {self.model.provider!r} has no {task}; it has {has}")

    def ignore(self) -> frozenset[str]:
        """`ignore`: names of request fields that this endpoint drops where the provider cannot be told them."""
        value = self.config.get("ignore")
        if value is None:
            return frozenset()
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise self.wrong("ignore", "must be a list of names of request fields, such as [seed, n]")
        for name in value:
            if name in NEEDED:
                raise self.wrong("ignore", f"{name!r} cannot be ignored: a request means nothing without it")
        return frozenset(value)

    def with_retries(self) -> "Reading":
        """The reading without the setting `retries`, which means the same to every provider: how often this model is
        asked again after a failure, where that is not `retries.count` of the whole server."""
        if "retries" not in self.config:
            return self
        count = self.config["retries"]
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MAX_RETRIES:
            raise self.wrong("retries", f"must be a whole number from 0 to {MAX_RETRIES}")
        rest = {key: value for key, value in self.config.items() if key != "retries"}
        retries = msgspec.structs.replace(self.timeouts.retries, count=count)
        timeouts = msgspec.structs.replace(self.timeouts, retries=retries)
        return msgspec.structs.replace(self, config=rest, timeouts=timeouts)

    def _resolved(self, key: str, value: str) -> str:
        if stored := _STORED.match(value):
            reference = f"{{{{secrets/{stored[1]}/{stored[2]}}}}}"
            found = self.secrets.get(reference, self.secrets.get(reference.lower()))
            if found is None:
                raise self.wrong(
                    key,
                    f"there is no secret {stored[2]!r} in scope {stored[1]!r}; 'tesela secrets put' makes one",
                )
            return found
        if value.lstrip().startswith("{{"):
            raise self.wrong(key, "a reference to a secret is written {{secrets/scope/key}}")
        if not _VARIABLE.match(value):
            return value
        found = self.secrets.get(value)
        if not found:
            raise self.wrong(key, f"the variable {value.removeprefix('env:')} is not set")
        return found


MAX_RETRIES = 5
NEEDED = frozenset({"model", "messages", "prompt", "input", "stream"})
_STORED = re.compile(r"^\s*\{\{\s*secrets/([^/{}\s]{1,128})/([^/{}\s]{1,128})\s*\}\}\s*\Z")
_VARIABLE = re.compile(r"^env:[A-Za-z_][A-Za-z0-9_]*$")


class Resolved(msgspec.Struct, frozen=True):
    """An external model with its settings understood: a name in `PROVIDERS`, the tasks, and where to send."""

    provider: str
    tasks: frozenset[Task]
    upstream: Upstream


class Row(msgspec.Struct, frozen=True):
    """One `external_model.provider`: the key of its settings, and how to read them."""

    field: str
    resolve: Callable[[Reading, Task], Resolved]
    needs_settings: bool = True
