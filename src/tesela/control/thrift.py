"""The answer to Databricks' SQL connectors that speak Thrift: that it is not spoken here, in Thrift.

The SQL state KP001 makes databricks-sql-connector 4.8 and newer change to the protocol that is; older ones raise the
sentence.  Apache Thrift's binary protocol: https://github.com/apache/thrift/blob/master/doc/specs/thrift-binary-protocol.md
"""

import struct

from starlette.requests import Request
from starlette.responses import Response

from tesela.control.answers import body
from tesela.control.facts import credential
from tesela.errors import InvalidRequest

MEDIA = "application/x-thrift"
MESSAGE = (
    "this server does not speak Thrift: connect with use_sea=True, with databricks-sql-connector 4.8 or newer and "
    "use_kernel=True, or use the Statement Execution API"
)
STATE = "KP001"
_VERSION, _CALL, _REPLY = 0x80010000, 1, 2
_STRUCT, _I32, _STRING, _STOP = 12, 8, 11, 0
_ERROR_STATUS, _PROTOCOL_V1 = 3, 42241
_LONGEST_NAME = 128


async def handler(request: Request) -> Response:
    credential(request)
    name, number = read(await body(request))
    return Response(refusal(name, number), media_type=MEDIA)


def read(data: bytes) -> tuple[bytes, int]:
    """Name and sequence number of a call.  Raises InvalidRequest for what is none."""
    if len(data) < 8:
        raise InvalidRequest("the request body is no Thrift message")
    version, length = struct.unpack(">Ii", data[:8])
    if version != _VERSION | _CALL or not 0 < length <= _LONGEST_NAME or len(data) < 12 + length:
        raise InvalidRequest("the request body is no call in Thrift's binary protocol")
    name = data[8 : 8 + length]
    return name, struct.unpack(">i", data[8 + length : 12 + length])[0]


def refusal(name: bytes, number: int) -> bytes:
    """The reply to any call of TCLIService: its first field is a status, which says no."""
    status = _field(_I32, 1, struct.pack(">i", _ERROR_STATUS))
    status += _field(_STRING, 3, _text(STATE)) + _field(_I32, 4, struct.pack(">i", 0))
    status += _field(_STRING, 5, _text(MESSAGE)) + bytes([_STOP])
    answer = _field(_STRUCT, 1, status)
    if name == b"OpenSession":
        answer += _field(_I32, 2, struct.pack(">i", _PROTOCOL_V1))
    result = _field(_STRUCT, 0, answer + bytes([_STOP])) + bytes([_STOP])
    head = struct.pack(">Ii", _VERSION | _REPLY, len(name)) + name + struct.pack(">i", number)
    return head + result


def _field(kind: int, number: int, content: bytes) -> bytes:
    return struct.pack(">bh", kind, number) + content


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">i", len(data)) + data
