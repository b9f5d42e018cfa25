"""The bench's side of the load generator: hands it an order, waits for the report, not for ever."""

import select
import sys
from pathlib import Path

import msgspec

from bench.orders import Loop, Order, Paced, Report, Streams
from bench.process import BenchError, Child, free_port


def patience_s(order: Order) -> float:
    """How long an order may take before the generator counts as stuck, in seconds."""
    if isinstance(order, Streams):
        return order.limit_s + 30
    if isinstance(order, Paced):
        return order.count / order.rate * 3 + 40
    if isinstance(order, Loop):
        return 100
    return order.seconds + 40


class Generator:
    """The generator's process, for as long as it is needed."""

    def __init__(self, core: int | None, log: Path, root: Path) -> None:
        # Where it plays the upstream of closed-loop streams.
        self.port = free_port()
        command = [sys.executable, "-m", "bench.load", str(self.port)]
        self.child = Child(command, core=core, log=log, cwd=root, piped=True)
        self._reports = msgspec.json.Decoder(Report)

    def run(self, order: Order) -> Report:
        """Carry out one order. Raises `BenchError` when the generator dies or is stuck."""
        stdin, stdout = self.child.pipes()
        stdin.write(msgspec.json.encode(order) + b"\n")
        stdin.flush()
        if not select.select([stdout], [], [], patience_s(order))[0]:
            raise BenchError(f"the load generator is stuck in {type(order).__name__}")
        line = stdout.readline()
        if not line:
            raise BenchError(f"the load generator ended: {self.child.tail()}")
        return self._reports.decode(line)
