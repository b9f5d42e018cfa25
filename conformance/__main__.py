"""`python -m conformance [ROW...]`: makes the environments, starts the server, runs every row, writes the table.

Exit code 1 when a call failed or an environment could not be made.  With names of rows only those run, and nothing is
written.  `--check` runs nothing: it tells whether the README shows the results of the last whole run.
"""

import sys
import tempfile
from pathlib import Path

from conformance import table
from conformance.environments import Failed, python_of
from conformance.rows import ROWS
from conformance.server import REPOSITORY, running
from tesela.errors import TeselaError
from tesela.verify import matrix
from tesela.verify.outcome import Outcome, Target

CHAT = "databricks-meta-llama-3-3-70b-instruct"
EMBEDDINGS = "databricks-gte-large-en"


RESULTS = REPOSITORY / "conformance" / "results.json"
README = REPOSITORY / "README.md"


def main(names: list[str]) -> int:
    rows = [row for row in ROWS if not names or row.name in names]
    found: list[tuple[str, list[Outcome]]] = []
    broken = False
    with (
        tempfile.TemporaryDirectory(prefix="tesela-conformance-") as folder,
        running(Path(folder)) as server,
    ):
        target = Target(server.host, server.access_token, CHAT, EMBEDDINGS)
        for row in rows:
            outcomes: list[Outcome] = []
            try:
                python = python_of(row, REPOSITORY / ".conformance")
                outcomes.extend(
                    matrix.clients(
                        target,
                        str(python),
                        modules=row.clients,
                        path=str(REPOSITORY / "src"),
                    )
                )
            except (Failed, TeselaError) as error:
                broken = True
                print(f"✗ {error}", flush=True)
            for one in outcomes:
                print(
                    f"{table.SIGNS[one.state]} {one.client} {one.version}: {one.call} {one.reason}".rstrip(),
                    flush=True,
                )
            found.append((row.name, outcomes))
    text = table.markdown(found)
    print("\n" + text)
    if not names:
        table.save(RESULTS, found)
        if not table.write(README, text):
            print(f"README.md has no {table.START} … {table.END}: the table was not written there")
    return 1 if broken or any(one.state == "failed" for _, outcomes in found for one in outcomes) else 0


def check() -> int:
    if table.is_current(README, table.markdown(table.load(RESULTS))):
        return 0
    print("README.md does not show the results in conformance/results.json: make conformance", file=sys.stderr)
    return 1


sys.exit(check() if sys.argv[1:] == ["--check"] else main(sys.argv[1:]))
