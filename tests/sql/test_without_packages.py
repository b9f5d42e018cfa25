"""What is said where the packages of SQL are not installed: a sentence with the command that installs them."""

import subprocess
import sys

import pytest

COMMAND = "from tesela.cli import main; main()"
REGISTER = """
import tesela.sql
class Session:
    def sql(self, text): ...
tesela.sql.register(Session(), 'http://127.0.0.1:9', 't')
"""


def run(program: str, *arguments: str, without: str) -> subprocess.CompletedProcess[str]:
    """A process in which a package cannot be imported."""
    hidden = f"import sys; sys.modules[{without!r}] = None; sys.argv[0] = 'tesela'\n"
    command = [sys.executable, "-c", hidden + program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("without", ["sqlglot", "pyarrow"])
def test_the_command(without: str) -> None:
    done = run(COMMAND, "sql", "SELECT 1", "--host", "http://127.0.0.1:9", "--token", "t", without=without)
    assert done.returncode == 2
    assert done.stderr.strip() == f"tesela: tesela sql needs {without}: pip install 'tesela[sql]'"


@pytest.mark.slow
@pytest.mark.parametrize("without", ["pyspark", "pyarrow"])
def test_a_session_of_ones_own(without: str) -> None:
    done = run(REGISTER, without=without)
    assert f"ConfigError: tesela.sql.register needs {without}: pip install 'tesela[sql]'" in done.stderr
