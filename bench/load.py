"""The load generator's process: orders come in on standard input, reports go out on standard output.

Run as `python -m bench.load`. It ends when its standard input does.
"""

import gc
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from bench.orders import Closed, Order, Paced, Pairs, Report, Streams
from bench.streams import streams
from bench.whole import closed, paced, pairs

DOERS: dict[type, Callable[[Any], Report]] = {
    Closed: closed,
    Paced: paced,
    Pairs: pairs,
    Streams: streams,
}


def main() -> None:
    """Carry out one order after another."""
    decoder = msgspec.json.Decoder(Order)
    for line in sys.stdin.buffer:
        order = decoder.decode(line)
        # A collection in mid-run would be read as latency of the gateway.
        gc.collect()
        gc.disable()
        try:
            report = DOERS[type(order)](order)
        except OSError as exc:
            report = Report({}, {f"{type(exc).__name__}: {exc}": 1})
        finally:
            gc.enable()
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
