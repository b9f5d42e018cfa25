"""One channel for all sessions of an engine: they share its connection, and none of them can close it."""

from typing import Any

import grpc
from pyspark.sql.connect.client.core import ChannelBuilder, DefaultChannelBuilder

_NEVER_MS = 2**31 - 1
OPTIONS = [
    *ChannelBuilder.GRPC_DEFAULT_OPTIONS,
    # Connections are counted, so gRPC must not drop one by itself, nor share it with another channel.
    ("grpc.client_idle_timeout_ms", _NEVER_MS),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.default_authority", "localhost"),
]


def opened(address: str) -> grpc.Channel:
    """A channel to the engine's Unix socket, `unix:path`.  It connects when it is first used."""
    return grpc.insecure_channel(address, options=OPTIONS)


class Shared(DefaultChannelBuilder):
    """What pyspark's client asks for its channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__("sc://localhost")
        self._shared = channel

    def toChannel(self) -> grpc.Channel:
        return Lent(self._shared)


class Lent:
    """A channel that its user cannot close."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def close(self) -> None:
        """Not ours to close."""
