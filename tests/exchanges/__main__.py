"""`python -m tests.exchanges` writes the table of providers into the README; with --check it only looks."""

import sys
from pathlib import Path

from tests.exchanges import table

README = Path(__file__).parents[2] / "README.md"

if sys.argv[1:] == ["--check"]:
    if not table.current(README):
        sys.exit("README.md shows another table of providers than the exchanges make: run `make docs`")
else:
    table.write(README)
