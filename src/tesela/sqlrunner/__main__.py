"""`python -m tesela.sqlrunner`: builds the parts of SQL and hands them to each other.

Its parent gives it a socket on which connections wait already, and a `SqlStart` on standard input; it ends when the
parent asks it to or goes away.
"""

import asyncio
import hashlib
import hmac
import logging
import os
import pickle
import signal
import socket
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import uvicorn
import uvloop

from tesela import signed
from tesela.config import Config
from tesela.gateway.dial import Dialer
from tesela.gateway.transport import Pools
from tesela.serving import Origin
from tesela.signed import Claims
from tesela.sql.calls.answers import Answers
from tesela.sql.calls.engine import Calls
from tesela.sql.calls.keeping import Keeping
from tesela.sql.engine import RemoteEngine, SailEngine
from tesela.sql.seams import Engine
from tesela.sql.site import PlanSettings
from tesela.sql.statements.doors import Doors, Stock
from tesela.sql.statements.life import Statements
from tesela.sql.statements.plans import Plans
from tesela.sql.statements.sessions import Sessions
from tesela.sql.statements.setting import Setting
from tesela.sqlrunner.batches import Batches
from tesela.sqlrunner.bearers import Bearers
from tesela.sqlrunner.gateway import GatewayClient
from tesela.store.store import Store
from tesela.told import SqlStart

CALLS_SOCKET = "calls"
TIDY_S = 60.0
DRAIN_S = 2


async def serve(start: SqlStart) -> None:
    """Run statements until told to stop."""
    config, run_dir, loop = start.config, Path(start.run_dir), asyncio.get_running_loop()
    home, sql = config.home / "sql", config.settings.sql
    plan = plan_settings(config)
    engine: Engine = (
        RemoteEngine(plan, sql.remote) if sql.remote else SailEngine(plan, config.home / "logs" / "sail.log", run_dir)
    )
    pools = Pools(loop, Dialer(loop))
    store = Store(config.home, config.settings.database_url, key=start.key)
    origin = Origin("http", start.host, start.port)
    client = GatewayClient(pools, origin, config.settings.patience, Bearers(partial(sign, store), time.time))
    answers = Answers(home / "answers.db")
    keeping = Keeping(answers)
    calls = Calls(client.send, keeping)
    remote_url = (sql.calls_url or f"http://{start.host}:{start.port}").rstrip("/") + "/api/2.0/sql/batches"
    statements = Statements(
        Setting(
            folder=home / "statements",
            plan=plan,
            endpoints=client.endpoints,
            calls_url=remote_url if sql.remote else f"unix:{run_dir / CALLS_SOCKET}",
            concurrency=sql.concurrency,
            statements=sql.statements,
            results_s=sql.results_hours * 3600,
            results_bytes=sql.results_mib * 2**20,
        ),
        calls,
    )
    sessions = Sessions(engine)
    most_bytes, oldest_s = sql.answers_mib * 2**20, sql.answers_hours * 3600
    stock = Stock(
        size=lambda owner: keeping.ask(partial(answers.size, owner)),
        clear=lambda owner: keeping.ask(partial(answers.clear, owner)),
        max_bytes=most_bytes,
        max_age_s=oldest_s,
    )
    # Links outlive a restart, so their key comes from the one that does.
    key = hmac.new(start.key, b"links to results of statements", hashlib.sha256).digest()
    plans = Plans(calls, plan, client.endpoints, sql.concurrency)
    doors = Doors(statements, sessions, plans, stock, secret=start.secret, key=key)
    server = uvicorn.Server(
        uvicorn.Config(
            doors.application(Batches(calls).routes()),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
    )

    async def tidy() -> None:
        while True:
            statements.tidy()
            plans.tidy()
            await asyncio.to_thread(sessions.tidy)
            await keeping.ask(lambda: answers.trim(before=time.time() - oldest_s, most_bytes=most_bytes))
            await asyncio.sleep(TIDY_S)

    loop.add_reader(sys.stdin.fileno(), _parent_gone, server)
    tidying = asyncio.create_task(tidy())
    try:
        with socket.socket(fileno=start.descriptor) as asked, _listening(run_dir / CALLS_SOCKET) as called:
            await server.serve(sockets=[asked, called])
    finally:
        loop.remove_reader(sys.stdin.fileno())
        tidying.cancel()
        with suppress(asyncio.CancelledError):
            await tidying
        await statements.stop()
        await asyncio.to_thread(engine.stop)
        pools.close()
        await keeping.close()
        answers.close()
        store.close()


def plan_settings(config: Config) -> PlanSettings:
    sql = config.settings.sql
    roots = tuple(root if "://" in root else str(config.path(root)) for root in sql.roots)
    warehouse = str(config.path(sql.warehouse)) if sql.warehouse else str(config.home / "warehouse")
    return PlanSettings(
        warehouse,
        roots,
        dict(sql.endpoints),
        engine="spark" if sql.remote else "sail",
        remote=bool(sql.remote),
    )


def sign(store: Store, claims: Claims) -> str:
    key = store.signing.current(time.time())
    return signed.sign(claims, key.id, key.private)


def _listening(path: Path) -> socket.socket:
    """A socket of this user alone; what an earlier process left is removed."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(1024)
    listener.setblocking(False)
    return listener


def _parent_gone(server: uvicorn.Server) -> None:
    if not os.read(sys.stdin.fileno(), 1):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        server.should_exit = True


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # Ctrl-C reaches the parent alone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The parent wrote it on this pipe, which nobody else can write to.
    start: SqlStart = pickle.load(sys.stdin.buffer)  # noqa: S301
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(serve(start))


if __name__ == "__main__":
    main()
