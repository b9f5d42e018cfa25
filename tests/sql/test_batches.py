"""Rows that an engine brings, and does not wait for."""

import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from tesela.errors import InvalidRequest
from tesela.sqlrunner.batches import unless_left


def request(*messages: dict[str, Any]) -> Request:
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop(0)
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    return Request({"type": "http", "method": "POST", "path": "/batches", "headers": []}, receive)


def test_work_is_given_up_when_the_engine_leaves() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ended.append("given up")
            raise

    async def main() -> None:
        with pytest.raises(InvalidRequest, match="left"):
            await unless_left(request({"type": "http.disconnect"}), work())
        await asyncio.sleep(0)

    asyncio.run(main())
    assert ended == ["given up"]


def test_otherwise_its_outcome_is_what_counts() -> None:
    async def gives() -> int:
        await asyncio.sleep(0)
        return 7

    async def raises() -> int:
        raise ValueError("as it is")

    async def main() -> None:
        assert await unless_left(request(), gives()) == 7
        with pytest.raises(ValueError, match="as it is"):
            await unless_left(request(), raises())
        # A piece of a body that nobody reads any more says nothing.
        assert await unless_left(request({"type": "http.request", "body": b""}), gives()) == 7

    asyncio.run(main())
