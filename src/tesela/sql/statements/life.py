"""All statements of one process: how many run, who may see them, when they are forgotten.

In the loop; each statement's work has a thread of its own.  What was there before a crash is found again at the start:
results that are whole stay, what was under way has failed and says so.
"""

import asyncio
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from tesela.errors import (
    NotFound,
    StatementCanceled,
    StoreUnavailable,
)
from tesela.sql.calls.engine import Calls
from tesela.sql.calls.values import Asked, Mode, Owner
from tesela.sql.site import Plan
from tesela.sql.statements import chunks, record
from tesela.sql.statements.record import DONE, Manifest, Record, Trouble
from tesela.sql.statements.request import Request
from tesela.sql.statements.setting import Setting
from tesela.sql.statements.trouble import STOPPED, trouble_of
from tesela.sql.statements.work import Means, Open, Work

SHOWN_TEXT = 10_000
"""Characters of a statement that are remembered of it."""
KEPT_MOST = 20_000
"""Statements that are remembered; the oldest that are done are forgotten first."""
WAITING_MOST = 1000
"""Statements that may wait for their turn; one more is told to come later."""
LONG_S = 1.0
"""A statement that takes longer is looked into for what it has to do."""
FORGET_S = 24 * 3600.0
"""How long after its result a statement itself is remembered."""

_log = logging.getLogger("tesela.sql")


class _Life:
    def __init__(self, kept: Record, owner: Owner | None = None) -> None:
        self.record = kept
        self.owner = owner
        self.work: Work | None = None
        self.task: asyncio.Task[None] | None = None
        self.closing = False
        self.expected: int | None = None


class Statements:
    def __init__(self, setting: Setting, calls: Calls, now: Callable[[], float] = time.time) -> None:
        self._setting = setting
        self._calls = calls
        self._now = now
        self._lives: dict[str, _Life] = {}
        self._stopping = False
        self._waiting: set[str] = set()
        self._turns = asyncio.Semaphore(setting.statements)
        self._threads = ThreadPoolExecutor(2 * setting.statements + 2, thread_name_prefix="statement")
        setting.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._find()

    # ------------------------------------------------------------- what clients do

    def begin(self, owner: Owner, request: Request, session: Open, apart: Open) -> Record:
        """Have a statement run in a session; in another, `apart`, it is asked how long it will take.
        Raises TeselaError when there are too many, or the disk has no room."""
        if len(self._waiting) >= WAITING_MOST:
            raise StoreUnavailable(f"{WAITING_MOST} statements are waiting for their turn: try again", retry_after_s=5)
        id = str(uuid.uuid4())
        text, now_ms = request.text[:SHOWN_TEXT], int(self._now() * 1000)
        made = Record(id, owner.id, text, request.disposition, now_ms, session=request.session)
        folder = self._setting.folder / id
        try:
            folder.mkdir(mode=0o700)
            record.write(folder, made)
        except OSError as exc:
            shutil.rmtree(folder, ignore_errors=True)
            raise StoreUnavailable(f"the statement cannot be written down: {exc.strerror or exc}") from exc
        life = self._lives[id] = _Life(made, owner)
        self._waiting.add(id)
        life.task = asyncio.create_task(self._live(life, owner, request, session, apart))
        return made

    async def wait(self, id: str, seconds: float) -> None:
        """Until it is done, or this time is over."""
        task = self._lives[id].task
        if task is not None and seconds > 0:
            await asyncio.wait((task,), timeout=seconds)

    def get(self, owner_id: str, id: str, *, admin: bool = False) -> Record:
        """Raises NotFound for one that is not there, or somebody else's."""
        return self._life(owner_id, id, admin).record

    def progress(self, id: str) -> dict[str, int]:
        life = self._lives[id]
        self._note_progress(life)
        return life.record.progress

    def of(self, owner_id: str, *, admin: bool = False) -> list[Record]:
        """The newest first."""
        found = [life.record for life in self._lives.values() if admin or life.record.owner == owner_id]
        return sorted(found, key=lambda one: one.created_ms, reverse=True)

    def cancel(self, owner_id: str, id: str, *, admin: bool = False) -> None:
        """Returns at once; the state tells when it has stopped.  One that is done stays as it is."""
        self._stop(self._life(owner_id, id, admin))

    def close(self, owner_id: str, id: str, *, admin: bool = False) -> None:
        """Cancel it if it runs; its result is gone."""
        life = self._life(owner_id, id, admin)
        if life.record.state in DONE:
            self._close(life)
        else:
            life.closing = True
            self._stop(life)

    def close_session(self, session: str) -> None:
        for life in self._lives.values():
            if life.record.session == session and life.record.state not in DONE:
                self._stop(life)

    def chunk(self, record_: Record, index: int) -> Path:
        """The file of a chunk.  Raises NotFound."""
        if record_.state == "SUCCEEDED" and record_.manifest and 0 <= index < len(record_.manifest.chunks):
            file = self._setting.folder / record_.id / chunks.name(index)
            if file.is_file():
                return file
        if record_.state in ("SUCCEEDED", "CLOSED"):
            raise NotFound(f"statement {record_.id} has no chunk {index}, or it is not kept any more: run it again")
        raise NotFound(f"statement {record_.id} has no result")

    def known(self, id: str) -> Record:
        """Whoever asks.  Raises NotFound."""
        life = self._lives.get(id)
        if life is None:
            raise NotFound(f"there is no statement {id[:64]!r}, or it is forgotten")
        return life.record

    # ------------------------------------------------------------- what time does

    def tidy(self) -> None:
        """Results beyond their age are removed, the oldest beyond their room, and statements some time after."""
        now, setting = self._now() * 1000, self._setting
        done = [life for life in self._lives.values() if life.record.ended_ms is not None]
        done.sort(key=lambda life: life.record.ended_ms or 0, reverse=True)
        size = 0
        for place, life in enumerate(done):
            age = now - (life.record.ended_ms or 0)
            size += life.record.manifest.bytes if life.record.manifest and life.record.state == "SUCCEEDED" else 0
            if age > setting.results_s * 1000 or size > setting.results_bytes:
                self._close(life)
            if age > (setting.results_s + FORGET_S) * 1000 or place >= KEPT_MOST:
                shutil.rmtree(setting.folder / life.record.id, ignore_errors=True)
                del self._lives[life.record.id]

    async def stop(self) -> None:
        """Stop all that runs, and wait for it."""
        self._stopping = True
        running = [life for life in self._lives.values() if life.task is not None and not life.task.done()]
        for life in running:
            self._stop(life)
        if running:
            await asyncio.wait([life.task for life in running if life.task is not None], timeout=10.0)
        self._threads.shutdown(wait=False, cancel_futures=True)

    # ------------------------------------------------------------- within

    def _find(self) -> None:
        for folder in self._setting.folder.iterdir():
            found = record.read(folder)
            if found is None:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            if found.state not in DONE:
                found.state, found.ended_ms = "FAILED", int(self._now() * 1000)
                found.trouble = Trouble("INTERNAL_ERROR", STOPPED)
                self._drop_chunks(found.id)
                self._write(found)
            self._lives[found.id] = _Life(found)

    def _life(self, owner_id: str, id: str, admin: bool) -> _Life:
        life = self._lives.get(id)
        if life is None or not (admin or life.record.owner == owner_id):
            raise NotFound(f"there is no statement {id[:64]!r}, or it is forgotten")
        return life

    async def _live(self, life: _Life, owner: Owner, request: Request, session: Open, apart: Open) -> None:
        kept = life.record
        loop = asyncio.get_running_loop()

        async def begun(mode: Mode, sites: Sequence[Asked]) -> dict[str, str]:
            return self._calls.begin(kept.id, owner, sites, mode, self._setting.concurrency)

        def begin(plan: Plan, sites: Sequence[Asked]) -> dict[str, str]:
            mode: Mode = request.answers or ("keep" if plan.kind == "write" else "off")
            return asyncio.run_coroutine_threadsafe(begun(mode, sites), loop).result()

        setting = self._setting
        means = Means(setting.plan, session, apart, setting.endpoints(owner), owner.name, begin, setting.calls_url)
        life.work = Work(kept.id, request, self._setting.folder / kept.id, means)
        try:
            async with self._turns:
                kept.state = "RUNNING"
                self._waiting.discard(kept.id)
                guess = loop.call_later(LONG_S, self._guess, life)
                try:
                    manifest = await loop.run_in_executor(self._threads, life.work.run)
                finally:
                    guess.cancel()
        except StatementCanceled:
            self._end_canceled(life)
        except asyncio.CancelledError:
            # It waited for its turn; whoever stopped it has said so.
            return
        except Exception as exc:  # noqa: BLE001
            # Whatever it was, the statement is over and somebody waits to be told.
            self._ended(life, "FAILED", trouble_of(kept.id, exc, self._calls.why(kept.id)))
        else:
            self._ended(life, "SUCCEEDED", manifest=manifest)

    def _stop(self, life: _Life) -> None:
        if life.record.state == "PENDING" and life.task is not None:
            life.task.cancel()
            self._end_canceled(life)
            return
        self._calls.cancel(life.record.id)
        if life.work is not None and life.record.state not in DONE:
            # It talks to the engine, which may take its time.
            self._threads.submit(life.work.cancel)

    def _end_canceled(self, life: _Life) -> None:
        if self._stopping:
            self._ended(life, "FAILED", Trouble("INTERNAL_ERROR", STOPPED))
        else:
            self._ended(life, "CANCELED")

    def _ended(
        self, life: _Life, state: record.State, trouble: Trouble | None = None, manifest: Manifest | None = None
    ) -> None:
        kept = life.record
        self._waiting.discard(kept.id)
        self._note_progress(life)
        self._calls.end(kept.id)
        kept.state, kept.trouble, kept.manifest = state, trouble, manifest
        kept.ended_ms = int(self._now() * 1000)
        life.work = None
        if state != "SUCCEEDED":
            self._drop_chunks(kept.id)
        self._write(kept)
        if life.closing:
            self._close(life)

    def _guess(self, life: _Life) -> None:
        """Find out how much a statement that takes its time has to do."""
        if life.work is None:
            return

        def told(done: "Future[int | None]") -> None:
            if not done.cancelled() and done.exception() is None:
                life.expected = done.result()

        self._threads.submit(life.work.expected).add_done_callback(told)

    def _note_progress(self, life: _Life) -> None:
        counted = self._calls.progress(life.record.id)
        if counted is not None:
            rows = life.work.rows_out if life.work is not None else 0
            life.record.progress = {**msgspec.structs.asdict(counted), "rows_out": rows}
            if life.expected is not None:
                life.record.progress["expected"] = life.expected

    def _close(self, life: _Life) -> None:
        if life.record.state == "SUCCEEDED":
            life.record.state = "CLOSED"
            self._drop_chunks(life.record.id)
            self._write(life.record)

    def _write(self, kept: Record) -> None:
        try:
            record.write(self._setting.folder / kept.id, kept)
        except OSError as exc:
            # It is known as long as this process lives; after that it counts as one that ended with it.
            _log.error("statement %s cannot be written down: %s", kept.id, exc)

    def _drop_chunks(self, id: str) -> None:
        for file in (self._setting.folder / id).glob("chunk-*"):
            file.unlink(missing_ok=True)
