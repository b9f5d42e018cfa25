"""The process in which Sail runs: `python -m tesela.sql.sail`.  It prints its address and dies with its parent."""

import json
import sys
import threading

from tesela.engine.parent import die_with_parent


def main() -> None:
    die_with_parent()
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    host, port = server.listening_address
    sys.stdout.write(json.dumps({"address": f"sc://{host}:{port}"}) + "\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
