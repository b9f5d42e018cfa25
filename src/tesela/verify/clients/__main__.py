"""Runs the named client modules, or every installed client that changes nothing, against one server, and prints one
JSON object a line.

Reads DATABRICKS_HOST, DATABRICKS_TOKEN, TESELA_VERIFY_CHAT and TESELA_VERIFY_EMBEDDINGS.  A process of its own,
because MLflow takes its credentials from the environment alone and clients log as they please.
"""

import json
import os
import sys
from dataclasses import asdict
from importlib import import_module

from tesela.verify.clients.installed import CHANGING, TABLE, is_importable, version
from tesela.verify.outcome import Target, run


def main() -> None:
    target = Target(
        os.environ["DATABRICKS_HOST"],
        os.environ["DATABRICKS_TOKEN"],
        os.environ.get("TESELA_VERIFY_CHAT", ""),
        os.environ.get("TESELA_VERIFY_EMBEDDINGS", ""),
    )
    for ours in sys.argv[1:] or [ours for ours, (theirs, _) in TABLE.items() if is_importable(theirs)]:
        distribution = (TABLE | CHANGING)[ours][1]
        calls = import_module(f"tesela.verify.clients.{ours}").CALLS
        for outcome in run(calls, target, real=True, version=version(distribution)):
            sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
            sys.stdout.flush()


main()
