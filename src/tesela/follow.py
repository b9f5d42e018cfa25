"""Keeps one worker's snapshot up to date with the store and with the server's own state.

The bell says that something has changed; a thread then reads the store and builds the next snapshot, so a store that
is slow or gone never holds up a request.  What cannot be read or used leaves the snapshot as it was.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tesela import signed
from tesela.bell import Bell, Sound
from tesela.endpoint_build import Surroundings
from tesela.errors import StoreUnavailable, TeselaError
from tesela.records import Contents
from tesela.snapshot_build import Built, build
from tesela.told import ServerState, read_state

if TYPE_CHECKING:
    from tesela.store.store import Store

LOOK_S = 0.05
"""How often a worker listens to the bell."""
PATIENCE_S = 0.1
"""How long somebody who would be refused is kept waiting for what has just changed."""
OPEN_S = 0.2
"""How long after its start a worker opens the store."""
AGAIN_S = 1.0
"""After this long a store that could not be read is read again."""

_log = logging.getLogger("tesela.follow")


class Follower:
    """`publish` is called in the loop with each new snapshot, and `lost` when a fault of ours has ended the thread, so
    that nothing is followed any more.  `number` is the bell's for `state`; `store` opens the store when it is first
    called.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        bell: Bell,
        run_dir: Path,
        store: "Callable[[], Store]",
        state: ServerState,
        number: int,
        contents: Contents,
        publish: Callable[[Built], None],
        lost: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._bell = bell
        self._run_dir = run_dir
        self._store = store
        self._publish = publish
        self._lost = lost
        self._contents = contents
        self._state = state
        self._seen = Sound(contents.version, number, 1)
        self._built = build(state.config, state.engines, contents, running=True)
        self._news: Built | None = None
        self._change = threading.Condition()
        self._wanted = False
        self._ended = False
        self._trouble = False
        self._slow = False
        self._timer: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    @property
    def built(self) -> Built:
        return self._built

    @property
    def in_trouble(self) -> bool:
        """Whether what has changed could not be taken over, the last time it was tried."""
        return self._trouble

    def surroundings(self) -> Surroundings:
        """What an endpoint that is asked for now can refer to."""
        with self._change:
            return msgspec.structs.replace(self._built.around, planned=self._state.models)

    def start(self) -> None:
        self._thread.start()
        self._look()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._change:
            self._ended = True
            self._change.notify_all()

    def wake(self) -> None:
        """Something may have changed: have the thread look, if the bell says so too."""
        if self._behind():
            with self._change:
                self._wanted = True
                self._change.notify_all()

    def catch_up(self) -> None:
        """Take over what the bell has announced, waiting a moment for it.  Called in the loop, before a refusal."""
        if not self._behind():
            return
        with self._change:
            self._wanted = True
            self._change.notify_all()
            # A store in trouble must not make every refusal slow, nor one that takes long: once for each look at it.
            if not self._trouble and not self._slow:
                self._slow = not self._change.wait_for(lambda: not self._behind() or self._trouble, PATIENCE_S)
        self._deliver()

    def _behind(self) -> bool:
        heard = self._bell.hear()
        return heard.version > self._seen.version or heard.state != self._seen.state

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK_S, self._look)
        self.wake()

    def _run(self) -> None:
        try:
            self._follow()
        finally:
            with self._change:
                if not self._ended:
                    self._loop.call_soon_threadsafe(self._lost)

    def _follow(self) -> None:
        self._open_store()
        if self._contents.keys:
            signed.load()
        while True:
            with self._change:
                self._change.wait_for(lambda: self._wanted or self._ended)
                if self._ended:
                    return
                self._wanted = False
            trouble = not self._update()
            with self._change:
                self._trouble, self._slow = trouble, False
                self._change.notify_all()
                if trouble:
                    # Looked for again after a while, not at each sound of the bell.
                    self._change.wait_for(lambda: self._ended, AGAIN_S)
                # Told under the lock: after `stop` the loop may be closed.
                if self._ended:
                    return
                self._loop.call_soon_threadsafe(self._deliver)

    def _open_store(self) -> None:
        """Before the first change, which would wait 0.2 s for it, but after the start, which others wait for."""
        with self._change:
            self._change.wait_for(lambda: self._wanted or self._ended, OPEN_S)
            if self._ended:
                return
        from tesela.store.contents import read_version

        try:
            read_version(self._store().database)
        except TeselaError:
            # It is told when something has changed and cannot be read.
            return

    def _update(self) -> bool:
        """Read what is new and build from it.  False when that was not possible."""
        from tesela.store.contents import read_contents

        heard = self._bell.hear()
        try:
            state = self._state if heard.state == self._seen.state else read_state(self._run_dir)
            contents = (
                self._contents if heard.version <= self._seen.version else read_contents(self._store(), self._contents)
            )
            same = state is self._state and contents.secrets == self._contents.secrets
            built = build(state.config, state.engines, contents, self._built if same else None, running=True)
        except StoreUnavailable as error:
            if not self._trouble:
                _log.warning("%s", error.message)
            return False
        except (TeselaError, OSError):
            if not self._trouble:
                _log.exception("what has changed could not be taken over; going on with what was read before")
            return False
        if contents.keys:
            # Here, and not in the loop with the first signed token: it takes 50 ms.
            signed.load()
        with self._change:
            self._state, self._contents, self._built, self._news = state, contents, built, built
            self._seen = Sound(max(contents.version, heard.version), heard.state, 1)
        return True

    def _deliver(self) -> None:
        with self._change:
            news, self._news = self._news, None
        if news is not None:
            self._publish(news)
