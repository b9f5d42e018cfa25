"""The store for tests: each runs once on SQLite and once on PostgreSQL, in a database of its own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.store.postgres import Missing, Server

from tesela.store import schema
from tesela.store.database import Database, home_url
from tesela.store.store import Store

KEY = bytes(range(32))
BACKENDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def servers() -> list[Server]:
    """Those that were started for all tests."""
    return []


@pytest.fixture(autouse=True)
def swept(servers: list[Server]) -> Iterator[None]:
    """No test leaves a database behind."""
    yield
    for server in servers:
        server.sweep()


@pytest.fixture(scope="session")
def postgres(servers: list[Server]) -> Iterator[Server]:
    """One server for all tests."""
    try:
        server = Server()
    except Missing as why:
        pytest.skip(str(why))
    servers.append(server)
    try:
        yield server
    finally:
        servers.remove(server)
        server.stop()


@pytest.fixture(scope="session")
def postgres_template(postgres: Server) -> str:
    """The name of a database that has the tables."""
    postgres.execute("CREATE DATABASE template_tesela")
    _make(postgres.url("template_tesela"))
    return "template_tesela"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that has the tables."""
    file = tmp_path_factory.mktemp("template") / "tesela.db"
    _make(f"sqlite:///{file}")
    return file


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables."""
    if backend == "sqlite":
        return home_url(_home(tmp_path))
    server: Server = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
def store_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database as a first start leaves it."""
    home = _home(tmp_path)
    if backend == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), home / "tesela.db")
        return home_url(home)
    server: Server = request.getfixturevalue("postgres")
    return server.database(request.getfixturevalue("postgres_template"))


@pytest.fixture
def opened(store_url: str, tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Opens the same store again and again, as several processes do."""
    stores: list[Store] = []

    def again(key: bytes = KEY) -> Store:
        store = Store(_home(tmp_path), store_url, key=key)
        stores.append(store)
        return store

    yield again
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Callable[[], Store]) -> Store:
    return opened()


def _home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir(exist_ok=True, mode=0o700)
    return home


def _make(url: str) -> None:
    database = Database(url)
    try:
        schema.create(database)
    finally:
        database.close()


@pytest.fixture
def postgres_old_url(postgres: Server) -> str:
    """A PostgreSQL database with the tables of revision 0001 and an admin."""
    url = postgres.database()
    database = Database(url)
    try:
        with database.write() as connection:
            schema.run(connection, "0001")
            connection.execute(text("INSERT INTO state VALUES (1, 1, 1234567890123456, 'an account', 1.0, 1)"))
            connection.execute(text("INSERT INTO principals VALUES ('1', 'admin@localhost', 'Administrator', 1, 1.0)"))
    finally:
        database.close()
    return url
