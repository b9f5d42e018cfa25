"""The supervisor over real processes: small ones that speak HTTP, and the real engines where those matter."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tesela.engine.ask import connect
from tesela.engine.logs import last_line, open_log, trim
from tesela.engine.models import Installed, engine_spec
from tesela.engine.placement import fill, make_run_dir, place
from tesela.engine.spec import EngineSpec, EngineState, read_states
from tesela.engine.supervisor import Supervisor
from tesela.errors import ConfigError, EngineError, NotFound

pytestmark = pytest.mark.slow

STUB = str(Path(__file__).with_name("stub_engine.py"))
TIMEOUT_S = 60.0
CHAT_MODEL = "smollm2-135m-instruct"


def _stub(name: str = "stub", *fault: str, **changes: Any) -> EngineSpec:
    spec = EngineSpec(
        name=name,
        kind="command",
        argv=(sys.executable, STUB, "{port}", *fault),
        base_url="http://127.0.0.1:{port}",
        drain_s=5,
    )
    return msgspec.structs.replace(spec, **changes)


def _run(
    run_dir: Path, specs: list[EngineSpec], scenario: Callable[[Supervisor], Awaitable[None]]
) -> list[EngineState]:
    states: list[EngineState] = []

    async def main() -> None:
        supervisor = Supervisor(specs, run_dir, states.append)
        await supervisor.start()
        try:
            await asyncio.wait_for(scenario(supervisor), TIMEOUT_S)
        finally:
            await supervisor.stop()

    asyncio.run(main())
    return states


def _state(supervisor: Supervisor, name: str) -> EngineState:
    return next(state for state in supervisor.states() if state.name == name)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.02)


async def _get(state: EngineState, path: str) -> str:
    def ask() -> str:
        connection = connect("" if state.socket else state.base_url, state.socket, 30)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {state.key}"})
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


def test_a_command_is_started_seen_and_ended(run_dir: Path) -> None:
    pids: list[int] = []

    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.wait_ready(TIMEOUT_S)
        state = _state(supervisor, "stub")
        pids.append(int(await _get(state, "/pid")))
        assert state.pid not in (None, pids[0])
        assert read_states(run_dir)["stub"] == state
        assert (run_dir / "engines.json").stat().st_mode & 0o777 == 0o600
        with pytest.raises(NotFound, match="'other'"):
            await supervisor.restart("other")

    states = _run(run_dir, [_stub()], scenario)
    assert [state.status for state in states] == ["starting", "ready", "stopped"]
    assert not _alive(pids[0])
    assert read_states(run_dir)["stub"].status == "stopped"


def test_a_command_may_listen_on_a_socket(run_dir: Path) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.wait_ready(TIMEOUT_S)
        state = _state(supervisor, "stub")
        assert state.socket == str(run_dir / "stub.sock")
        assert (await _get(state, "/pid")).isdigit()

    (run_dir / "stub.sock").touch()
    _run(run_dir, [_stub(argv=(sys.executable, STUB, "{socket}"), base_url="")], scenario)
    assert list(run_dir.glob("*.sock")) == []


def test_one_that_exits_is_started_again_with_the_reason(run_dir: Path) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.wait_ready(TIMEOUT_S)
        with pytest.raises(ConnectionError):
            await _get(_state(supervisor, "stub"), "/exit/3")
        await _until(lambda: _state(supervisor, "stub").restarts == 1)
        await supervisor.wait_ready(TIMEOUT_S)
        assert (await _get(_state(supervisor, "stub"), "/pid")).isdigit()

    states = _run(run_dir, [_stub()], scenario)
    died = next(state for state in states if state.status == "restarting")
    assert "ended with status 3" in died.message
    assert died.message.endswith("told to exit")
    assert died.pid is None


def test_one_that_never_gets_ready_is_failed_with_its_last_words(run_dir: Path) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        with pytest.raises(EngineError, match=r"'stub' is failed: .*the weights are made of cheese"):
            await supervisor.wait_ready(TIMEOUT_S)
        assert _state(supervisor, "stub").restarts == 5

    states = _run(run_dir, [_stub("stub", "die")], scenario)
    assert [state.status for state in states if state.pid is None] == ["restarting"] * 4 + ["failed", "stopped"]


def test_what_a_restart_cannot_mend_fails_at_once(run_dir: Path) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        with pytest.raises(EngineError, match=r"missing\.gguf cannot be read"):
            await supervisor.wait_ready(TIMEOUT_S)
        with pytest.raises(EngineError, match="missing"):
            await supervisor.restart("m")

    _run(run_dir, [EngineSpec(name="m", kind="llama", model="/missing.gguf")], scenario)


def test_a_command_that_is_not_there_is_named(run_dir: Path) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        with pytest.raises(EngineError, match="'no-such-program', cannot be started"):
            await supervisor.wait_ready(TIMEOUT_S)

    _run(run_dir, [_stub(argv=("no-such-program",))], scenario)


def test_one_that_hangs_while_starting_is_given_up(run_dir: Path) -> None:
    hang = (sys.executable, "-c", "import threading; threading.Event().wait()")

    async def scenario(supervisor: Supervisor) -> None:
        with pytest.raises(EngineError, match="not ready: 'stub'"):
            await supervisor.wait_ready(0.05)
        await _until(lambda: _state(supervisor, "stub").restarts == 1)
        assert "not ready after 0.5 s" in _state(supervisor, "stub").message

    _run(run_dir, [_stub(argv=hang, start_timeout_s=0.5)], scenario)


def test_a_slow_start_is_told(run_dir: Path) -> None:
    """Its port never opens: what it prints is all that there is to see."""
    words = (sys.executable, "-c", "import threading; print('loading', flush=True); threading.Event().wait()")
    told: list[EngineState] = []

    async def main() -> None:
        supervisor = Supervisor([_stub(argv=words)], run_dir, told.append, slow_s=0.1)
        await supervisor.start()
        await _until(lambda: len([state for state in told if "loading" in state.message]) == 2)
        await supervisor.stop()

    asyncio.run(main())
    slow = [state for state in told if state.message.startswith("not ready after")]
    assert {state.status for state in slow} == {"starting"}
    assert [state.message.partition(" s")[0] for state in slow][:2] == [f"not ready after 0.{n}" for n in (1, 2)]
    assert slow[-1].message.endswith(f"; its last line in {run_dir}/logs/stub.log: loading")
    assert told[-1].message == ""


def test_what_was_told_of_a_slow_start_is_over_when_it_is_ready(run_dir: Path) -> None:
    told: list[EngineState] = []

    async def main() -> None:
        supervisor = Supervisor([_stub()], run_dir, told.append, slow_s=0.001)
        await supervisor.start()
        await supervisor.wait_ready(TIMEOUT_S)
        await supervisor.stop()

    asyncio.run(main())
    assert any(state.message for state in told)
    assert [state.message for state in told if state.status == "ready"] == [""]


def test_above_its_memory_ceiling_it_is_replaced(run_dir: Path) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.wait_ready(TIMEOUT_S)
        state = _state(supervisor, "stub")
        before = await _get(state, "/grow/200")
        await _until(lambda: _state(supervisor, "stub").restarts == 1)
        await supervisor.wait_ready(TIMEOUT_S)
        assert await _get(_state(supervisor, "stub"), "/pid") != before
        assert "above its ceiling of 150 MiB" in _state(supervisor, "stub").message

    _run(run_dir, [_stub(memory_bytes=150 * 2**20)], scenario)


def test_memory_is_counted_for_all_that_an_engine_started(run_dir: Path) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.wait_ready(TIMEOUT_S)
        await _get(_state(supervisor, "stub"), "/grow/100")
        await _until(lambda: _state(supervisor, "stub").rss_bytes > 100 * 2**20)

    _run(run_dir, [_stub()], scenario)


def test_restart_gives_a_fresh_process(run_dir: Path) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.wait_ready(TIMEOUT_S)
        before = await _get(_state(supervisor, "stub"), "/pid")
        await supervisor.restart("stub")
        assert await _get(_state(supervisor, "stub"), "/pid") != before
        assert not _alive(int(before))

    _run(run_dir, [_stub()], scenario)


def test_an_engine_is_added_and_removed_while_others_run(run_dir: Path) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.wait_ready(TIMEOUT_S)
        first = await _get(_state(supervisor, "stub"), "/pid")
        await supervisor.add(_stub("more"))
        assert read_states(run_dir)["more"].status == "starting"
        await supervisor.wait_ready(TIMEOUT_S)
        state = _state(supervisor, "more")
        assert read_states(run_dir)["more"] == state
        assert Path(state.log) == run_dir / "logs" / "more.log"
        assert Path(state.log).exists()
        second = int(await _get(state, "/pid"))
        await supervisor.remove("more")
        assert not _alive(second)
        assert list(read_states(run_dir)) == ["stub"]
        assert [state.name for state in supervisor.states()] == ["stub"]
        assert await _get(_state(supervisor, "stub"), "/pid") == first

    states = _run(run_dir, [_stub()], scenario)
    assert [state.status for state in states if state.name == "more"] == ["starting", "ready", "stopped"]


def test_to_add_and_remove_twice_is_to_do_it_once(run_dir: Path) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        spec = _stub("more")
        await supervisor.add(spec)
        await supervisor.add(spec)
        await supervisor.wait_ready(TIMEOUT_S)
        pid = int(await _get(_state(supervisor, "more"), "/pid"))
        with pytest.raises(EngineError, match="'more' is there with other settings"):
            await supervisor.add(_stub("more", drain_s=6))
        await asyncio.gather(supervisor.remove("more"), supervisor.remove("more"))
        assert not _alive(pid)
        await supervisor.remove("more")
        assert supervisor.states() == []

    states = _run(run_dir, [], scenario)
    assert [state.status for state in states] == ["starting", "ready", "stopped"]


def test_a_name_is_free_while_its_last_engine_drains(run_dir: Path, models: dict[str, Installed]) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.wait_ready(TIMEOUT_S)
        old = _state(supervisor, CHAT_MODEL)
        reader, writer = await asyncio.open_unix_connection(old.socket)
        body = b'{"prompt":"a","max_tokens":400,"ignore_eos":true,"stream":true,"temperature":0}'
        head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {old.key}\r\n"
        writer.write(head.encode() + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        begun = await reader.readuntil(b'"text"')
        removal = asyncio.create_task(supervisor.remove(CHAT_MODEL))
        await _until(lambda: not Path(old.socket).exists())
        assert supervisor.states() == []
        await supervisor.add(engine_spec(models[CHAT_MODEL], context=256))
        await supervisor.wait_ready(TIMEOUT_S)
        assert not removal.done()
        assert _state(supervisor, CHAT_MODEL).facts["context"] == 256
        # A removal that nobody waits for goes on.
        removal.cancel()
        rest = await reader.read()
        writer.close()
        assert (begun + rest).count(b'"text"') == 401
        await _until(lambda: not _alive(old.pid or 0))
        assert "ok" in await _get(_state(supervisor, CHAT_MODEL), "/health")

    _run(run_dir, [engine_spec(models[CHAT_MODEL], context=512)], scenario)


def test_nothing_is_added_to_what_was_stopped(run_dir: Path) -> None:
    async def main() -> None:
        supervisor = Supervisor([_stub()], run_dir)
        await supervisor.start()
        waiting = asyncio.create_task(supervisor.wait_ready(TIMEOUT_S))
        await supervisor.stop()
        await asyncio.wait_for(waiting, TIMEOUT_S)
        with pytest.raises(EngineError, match="the server is stopping"):
            await supervisor.add(_stub("more"))

    asyncio.run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="death with the parent is looked at through /proc")
def test_children_end_when_the_parent_is_killed(run_dir: Path, models: dict[str, Installed]) -> None:
    specs = [_stub(), engine_spec(models["all-minilm-l6-v2"])]
    script = (
        "import asyncio, sys\nfrom pathlib import Path\nimport msgspec\n"
        "from tesela.engine.supervisor import EngineSpec, Supervisor\n"
        "async def main():\n"
        "    specs = msgspec.json.decode(sys.stdin.buffer.readline(), type=list[EngineSpec])\n"
        "    supervisor = Supervisor(specs, Path(sys.argv[1]))\n"
        "    await supervisor.start()\n    await supervisor.wait_ready(60)\n    print('ready', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())"
    )
    arguments = [sys.executable, "-c", script, str(run_dir)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(msgspec.json.encode(specs) + b"\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == b"ready\n"
        states = read_states(run_dir)
        inner = int(asyncio.run(_get(states["stub"], "/pid")))
        pids = [inner, *(state.pid for state in states.values() if state.pid)]
        assert len(pids) == 3
        assert all(_alive(pid) for pid in pids)
        parent.kill()
    asyncio.run(_until(lambda: not any(_alive(pid) for pid in pids)))


def test_a_crash_of_native_code_costs_one_restart(run_dir: Path, models: dict[str, Installed]) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.wait_ready(TIMEOUT_S)
        state = _state(supervisor, CHAT_MODEL)
        assert state.pid is not None
        os.kill(state.pid, signal.SIGSEGV)
        await _until(lambda: _state(supervisor, CHAT_MODEL).restarts == 1)
        await supervisor.wait_ready(TIMEOUT_S)
        assert "died of SIGSEGV" in _state(supervisor, CHAT_MODEL).message
        assert "ok" in await _get(_state(supervisor, CHAT_MODEL), "/health")

    _run(run_dir, [engine_spec(models[CHAT_MODEL], context=512)], scenario)


def test_a_restart_drains_what_is_running(run_dir: Path, models: dict[str, Installed]) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.wait_ready(TIMEOUT_S)
        old = _state(supervisor, CHAT_MODEL)
        reader, writer = await asyncio.open_unix_connection(old.socket)
        body = b'{"prompt":"a","max_tokens":400,"ignore_eos":true,"stream":true,"temperature":0}'
        head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {old.key}\r\n"
        writer.write(head.encode() + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        begun = await reader.readuntil(b'"text"')
        await supervisor.restart(CHAT_MODEL)
        new = _state(supervisor, CHAT_MODEL)
        assert (new.socket, new.key) == (old.socket, old.key)
        assert new.pid != old.pid
        assert _alive(old.pid or 0)
        assert "ok" in await _get(new, "/health")
        rest = await reader.read()
        writer.close()
        assert b"data: [DONE]" in rest
        assert (begun + rest).count(b'"text"') == 401
        assert old.pid is not None
        await _until(lambda: not _alive(old.pid or 0))

    _run(run_dir, [engine_spec(models[CHAT_MODEL], context=512)], scenario)


def test_interrupt_is_left_to_the_parent(embeddings: Any) -> None:
    embeddings.process.send_signal(signal.SIGINT)
    assert embeddings.raw("GET", "/health")[0] == 200


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (_stub("a/b"), "only letters"),
        (_stub("stub", argv=()), "no command"),
        (_stub("n" * 90), "too long"),
    ],
)
def test_what_cannot_run_is_refused(run_dir: Path, spec: EngineSpec, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Supervisor([spec], run_dir)


def test_keys_are_random_and_not_shown(run_dir: Path) -> None:
    one, two = (place(_stub(), run_dir) for _ in range(2))
    assert one.key != two.key
    assert len(one.key) >= 32
    assert one.key not in repr(one)
    assert fill(msgspec.structs.replace(one, argv=("x", "--api-key={key}")), 1).argv == ("x", f"--api-key={one.key}")


def test_a_run_directory_is_private_and_sweeps_up(run_dir: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    stale = run_dir / f"tesela-{os.getuid()}-{dead.pid}-x"
    stale.mkdir()
    made = [make_run_dir({"XDG_RUNTIME_DIR": str(run_dir)}) for _ in range(2)]
    assert not stale.exists()
    assert made[0] != made[1]
    assert all(path.stat().st_mode & 0o777 == 0o700 for path in made)


def test_a_log_stays_within_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "m.log"
    descriptor = open_log(path)
    os.write(descriptor, b"x" * 1000 + b"\nlast words\n\n")
    assert last_line(path, 0) == "last words"
    assert last_line(path, path.stat().st_size) == ""
    trim(path, 500)
    os.write(descriptor, b"more\n")
    os.close(descriptor)
    assert path.read_bytes() == b"more\n"
    assert path.with_name("m.log.1").stat().st_size > 1000


def test_no_thread_is_left(run_dir: Path) -> None:
    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.wait_ready(TIMEOUT_S)

    before = threading.active_count()
    _run(run_dir, [_stub()], scenario)
    assert threading.active_count() <= before


def test_a_model_does_not_get_the_servers_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TESELA_MASTER_KEY", "TESELA_DATABASE_URL", "THEIRS"):
        monkeypatch.setenv(name, "value")
    seen = tmp_path / "environment"
    # Written aside and renamed: what is read is whole.
    script = f"env > {seen}.part; mv {seen}.part {seen}; exec {sys.executable} {STUB} {{port}}"

    async def scenario(supervisor: Supervisor) -> None:
        await supervisor.wait_ready(TIMEOUT_S)

    _run(tmp_path / "run", [_stub(argv=("sh", "-c", script))], scenario)
    names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    assert "THEIRS" in names
    assert not {"TESELA_MASTER_KEY", "TESELA_DATABASE_URL"} & names
