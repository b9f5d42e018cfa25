"""The transport of scripted models: plays an answer over time as an upstream would, and dials nothing.

It keeps to the contract of a transport: the listener is never called from `send`, hears nothing while paused or after
`cancel`, and the upstream's time limits hold.
"""

import asyncio
from collections.abc import Sequence

from tesela.errors import TeselaError, UpstreamProtocolError, UpstreamTimeout, UpstreamUnavailable
from tesela.gateway.seams import Listener
from tesela.providers.scripted import Play, Script, play
from tesela.serving import Origin, Timeouts, Upstream


class Player:
    """Plays scripts on one event loop.  Calls are counted per origin and model, which is what `flaky-2` goes by."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._attempts: dict[tuple[Origin, str], int] = {}
        self._under_way: set[Playing] = set()

    def send(
        self, upstream: Upstream, path: str, headers: Sequence[tuple[str, str]], body: bytes, listener: Listener
    ) -> "Playing":
        """Begin to play.  Raises nothing; what goes wrong reaches the listener."""
        del headers  # They have no say in a script.
        key = (upstream.origin, upstream.model)
        attempt = self._attempts[key] = self._attempts.get(key, 0) + 1
        script = upstream.script
        if not isinstance(script, Script):
            raise TypeError(f"the upstream of {upstream.model!r} has no script")
        playing = Playing(self, play(script, body, path, attempt), upstream, listener)
        self._under_way.add(playing)
        return playing

    def forget(self, playing: "Playing") -> None:
        self._under_way.discard(playing)

    def close(self) -> None:
        """Break off what is under way, without telling the listeners."""
        for playing in list(self._under_way):
            playing.cancel()


class Playing:
    """One answer being played.  Always waits for exactly one thing, held in `_next`, unless it is paused or over."""

    __slots__ = (
        "_began", "_due", "_headed", "_index", "_listener", "_model", "_next", "_over", "_paused", "_play", "_player",
        "_timeouts",
    )  # fmt: skip

    def __init__(self, player: Player, play: Play, upstream: Upstream, listener: Listener) -> None:
        self._player = player
        self._play = play
        self._model = upstream.model
        self._timeouts: Timeouts = upstream.timeouts
        self._listener = listener
        self._index = 0
        self._headed = False
        self._paused = False
        self._over = False
        self._began = player.loop.time()
        self._next: asyncio.Handle | None = None
        self._due = self._began
        self._wait()

    def pause(self) -> None:
        self._paused = True
        self._unwait()

    def resume(self) -> None:
        if self._paused and not self._over:
            self._paused = False
            # What came due meanwhile comes at once; what was still to come is not delayed.
            self._schedule()

    def cancel(self) -> None:
        self._over = True
        self._unwait()
        self._player.forget(self)

    def _unwait(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _wait(self) -> None:
        """Wait for the next thing: a part, the end, or a time limit when that comes first."""
        now = self._player.loop.time()
        parts = self._play.parts
        if self._index < len(parts):
            self._due = now + parts[self._index][0]
        elif self._play.end == "stall":
            self._due = float("inf")
        else:
            self._due = now
        if not self._paused and not self._over:
            self._schedule()

    def _schedule(self) -> None:
        # A listener that paused and resumed within one call has already made us wait.
        self._unwait()
        loop, limits, due = self._player.loop, self._timeouts, self._due
        now = loop.time()
        patience = now + (limits.idle_s if self._headed else limits.first_byte_s)
        limit = min(patience, self._began + limits.total_s)
        if due > limit:
            self._next = loop.call_at(limit, self._late)
        elif due <= now:
            self._next = loop.call_soon(self._turn)
        else:
            self._next = loop.call_at(due, self._turn)

    def _turn(self) -> None:
        self._next = None
        parts = self._play.parts
        if not self._headed and (parts or self._play.end == "end"):
            self._headed = True
            headers = {name.encode("latin-1"): content.encode("latin-1") for name, content in self._play.headers}
            self._listener.on_head(self._play.status, headers)
            if self._over or self._paused:
                return
        if self._index < len(parts):
            data = parts[self._index][1]
            self._index += 1
            self._listener.on_data(data)
            self._wait()
            return
        self._finish()

    def _finish(self) -> None:
        if self._play.end == "end":
            self._end(None)
        elif self._headed:
            self._end(
                UpstreamProtocolError(f"the scripted model {self._model!r} broke off in the middle of its answer")
            )
        else:
            self._end(UpstreamUnavailable(f"the scripted model {self._model!r} broke off before its answer"))

    def _late(self) -> None:
        self._next = None
        limits = self._timeouts
        if self._player.loop.time() >= self._began + limits.total_s:
            what = f"was not done within {limits.total_s:g} s"
        elif self._headed:
            what = f"fell silent for {limits.idle_s:g} s"
        else:
            what = f"did not begin to answer within {limits.first_byte_s:g} s"
        self._end(UpstreamTimeout(f"the scripted model {self._model!r} {what}"))

    def _end(self, error: TeselaError | None) -> None:
        if self._over:
            return
        self._over = True
        self._player.forget(self)
        if error is None:
            self._listener.on_end()
        else:
            self._listener.on_failure(error)
