"""The load generator's process: orders come in on standard input, reports go out on standard output.

Run as `python -m bench.load PORT`; at PORT it plays the upstream of closed-loop streams. It ends when its standard
input does.
"""

import gc
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from bench.loop import loop
from bench.orders import Closed, Loop, Order, Paced, Pairs, Report, Streams
from bench.streams import streams
from bench.whole import closed, paced, pairs


def doers(listener: socket.socket) -> dict[type, Callable[[Any], Report]]:
    """Who carries out which order."""
    return {Closed: closed, Paced: paced, Pairs: pairs, Streams: streams, Loop: partial(loop, listener=listener)}


def main(port: int) -> None:
    """Carry out one order after another."""
    known = doers(socket.create_server(("127.0.0.1", port), backlog=4096))
    decoder = msgspec.json.Decoder(Order)
    for line in sys.stdin.buffer:
        order = decoder.decode(line)
        # A collection in mid-run would be read as latency of the gateway.
        gc.collect()
        gc.disable()
        try:
            report = known[type(order)](order)
        except OSError as exc:
            report = Report({}, {f"{type(exc).__name__}: {exc}": 1})
        finally:
            gc.enable()
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
