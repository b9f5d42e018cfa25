"""Opens connections to origins: TCP, TLS, Unix sockets, and through a proxy by CONNECT.

The one place that reads names, certificates and proxies.  It hands back a connected protocol and knows nothing of
requests.
"""

import asyncio
import re
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from tesela.serving import Origin

_OPENED = re.compile(r"HTTP/1\.[01] 2\d\d(?: |$)")
NEVER_BY_PROXY = ("169.254.", "fe80:", "fd00:ec2:")
"""Link-local addresses, and Amazon's own of that kind: a machine's services, which give it its keys.  A proxy would ask
those of its own machine, and would read the answer."""
P = TypeVar("P", bound=asyncio.Protocol)
MAX_PROXY_ANSWER = 16 * 1024


class ProxyRefused(OSError):
    """The proxy did not open the tunnel."""


class Dialer:
    """Dials origins.  `proxies` maps a scheme to a proxy's URL; `direct` says for a host that it needs none;
    unless told otherwise every host does without."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        proxies: Mapping[str, str] | None = None,
        direct: Callable[[str], bool] = bool,
    ) -> None:
        self._loop = loop
        self._proxies = proxies or {}
        self._direct = direct
        self._contexts: dict[bool, ssl.SSLContext] = {}

    async def dial(self, origin: Origin, make: Callable[[], P]) -> P:
        """A connected protocol.  Raises OSError (ssl.SSLError and ProxyRefused are such)."""
        loop = self._loop
        if origin.unix is not None:
            return (await loop.create_unix_connection(make, origin.unix))[1]
        context = self._context(origin.verify) if origin.scheme == "https" else None
        proxy = self._proxies.get(origin.scheme)
        if proxy and not origin.host.startswith(NEVER_BY_PROXY) and not self._direct(origin.host):
            return await self._through(proxy, origin, context, make)
        return (await loop.create_connection(make, origin.host, origin.port, ssl=context))[1]

    def _context(self, verify: bool) -> ssl.SSLContext:
        """Made at the first use and kept: reading the system's certificates takes tens of milliseconds."""
        context = self._contexts.get(verify)
        if context is None:
            context = ssl.create_default_context()
            if not verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            context.set_alpn_protocols(["http/1.1"])
            self._contexts[verify] = context
        return context

    async def _through(self, proxy: str, origin: Origin, context: ssl.SSLContext | None, make: Callable[[], P]) -> P:
        # A tunnel for plain http too: one form for both, and the proxy never sees a path or a key.
        url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        outer = self._context(verify=True) if url.scheme == "https" else None
        tunnel = _Tunnel(self._loop)
        port = url.port or (443 if outer else 80)
        transport, _ = await self._loop.create_connection(lambda: tunnel, url.hostname or "localhost", port, ssl=outer)
        target = f"{origin.host}:{origin.port}"
        head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
        if url.username is not None:
            pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
            head += f"Proxy-Authorization: Basic {b64encode(pair.encode()).decode()}\r\n"
        transport.write(head.encode() + b"\r\n")
        try:
            await tunnel.opened
        except BaseException:
            transport.abort()
            raise
        protocol = make()
        if context is None:
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
            return protocol
        secured = await self._loop.start_tls(transport, protocol, context, server_hostname=origin.host)
        if secured is None:
            raise ProxyRefused("the connection closed while TLS was being set up")
        protocol.connection_made(secured)
        return protocol


class _Tunnel(asyncio.Protocol):
    """Waits for the proxy's answer to CONNECT (RFC 9110, section 9.3.6)."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.opened: asyncio.Future[None] = loop.create_future()
        self._answer = b""

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self.opened.done():
            return
        if b"\r\n\r\n" in self._answer:
            line = self._answer.split(b"\r\n", 1)[0].decode("latin-1")
            if _OPENED.match(line):
                self.opened.set_result(None)
            else:
                self.opened.set_exception(ProxyRefused(f"the proxy answered {line!r}"))
        elif len(self._answer) > MAX_PROXY_ANSWER:
            self.opened.set_exception(ProxyRefused("the proxy's answer is not HTTP"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ProxyRefused("the proxy closed the connection"))
