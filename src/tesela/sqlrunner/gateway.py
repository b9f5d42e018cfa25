"""The gateway as statements see it: requests to endpoints and questions about them, with the owner's credential."""

import asyncio
import http.client
from urllib.parse import quote

from tesela.errors import EngineError, TeselaError
from tesela.gateway.seams import Handle, Headers
from tesela.gateway.transport import Pools
from tesela.serving import Origin, Timeouts, Upstream
from tesela.sql.calls.again import NO_CONNECTION
from tesela.sql.calls.values import Owner, Reply
from tesela.sql.statements.endpoints import Endpoints
from tesela.sqlrunner.bearers import Bearers

LOOK_S = 30.0


class _Listener:
    """One answer, whole."""

    def __init__(self, done: "asyncio.Future[Reply]") -> None:
        self._done = done
        self._status = 200
        self._headers: Headers = {}
        self._body = bytearray()

    def on_answer(self, body: bytes) -> None:
        self._tell(Reply(200, {}, body))

    def on_head(self, status: int, headers: Headers) -> None:
        self._status, self._headers = status, headers

    def on_data(self, data: bytes) -> None:
        self._body += data

    def on_end(self) -> None:
        self._tell(Reply(self._status, self._headers, bytes(self._body)))

    def on_failure(self, error: TeselaError) -> None:
        self._tell(Reply(NO_CONNECTION, {}, error.message.encode()))

    def _tell(self, reply: Reply) -> None:
        if not self._done.done():
            self._done.set_result(reply)


class GatewayClient:
    """`origin` is where the gateway answers."""

    def __init__(self, pools: Pools, origin: Origin, timeouts: Timeouts, bearers: Bearers) -> None:
        self._pools = pools
        self._upstream = Upstream(origin, model="", timeouts=timeouts)
        self._bearers = bearers

    async def send(self, owner: Owner, endpoint: str, body: bytes) -> Reply:
        """POST to an endpoint's invocations.  What goes wrong is in the reply."""
        done: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        bearer = self._bearers.current(owner.bearer)
        path = f"/serving-endpoints/{quote(endpoint, safe='')}/invocations"
        handle: Handle = self._pools.send(
            self._upstream, path, (("authorization", f"Bearer {bearer}"),), body, _Listener(done)
        )
        try:
            return await done
        except asyncio.CancelledError:
            handle.cancel()
            raise

    def endpoints(self, owner: Owner) -> Endpoints:
        """What the owner may know of endpoints.  Its questions block."""
        return Endpoints(lambda path: self._get(owner, path))

    def _get(self, owner: Owner, path: str) -> tuple[int, bytes]:
        """Raises EngineError when the gateway does not answer."""
        origin = self._upstream.origin
        connection = http.client.HTTPConnection(origin.host, origin.port, timeout=LOOK_S)
        try:
            connection.request("GET", path, headers={"authorization": f"Bearer {self._bearers.current(owner.bearer)}"})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as exc:
            raise EngineError(f"the gateway does not answer the statement's questions: {exc}") from exc
        finally:
            connection.close()
