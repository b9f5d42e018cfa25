"""One channel for all sessions of an engine: they share its connection, and none of them can close it."""

from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from pyspark.sql.connect.client.core import DefaultChannelBuilder

OPTIONS = [
    # Connections are counted, so gRPC must not drop one by itself, nor share it with another channel.
    ("grpc.client_idle_timeout_ms", 2**31 - 1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.default_authority", "localhost"),
    # There is no distance to bridge: what is sent ahead of the reader only takes memory.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 1024 * 1024),
]


class Lent:
    """A channel that its user cannot close."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def close(self) -> None:
        """Not the user's to close."""


def shared(address: str) -> "DefaultChannelBuilder":
    """What pyspark's clients ask for their channel, to `unix:path`.  It connects when it is first used."""
    # Here, because the package takes `python -c` for a run of its own tests, and ends the process.
    from pyspark.sql.connect.client.core import DefaultChannelBuilder

    channel = grpc.insecure_channel(address, options=[*DefaultChannelBuilder.GRPC_DEFAULT_OPTIONS, *OPTIONS])

    class Shared(DefaultChannelBuilder):
        def toChannel(self) -> grpc.Channel:
            return Lent(channel)

    return Shared("sc://localhost")
