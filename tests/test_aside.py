"""Work beside the loop gives what it gives, and holds up nobody who ends."""

import asyncio
import subprocess
import sys
import threading

import pytest

from tesela.aside import aside

ENDING = """
import asyncio, threading
from tesela.aside import aside

async def main():
    begun = threading.Event()
    def forever():
        begun.set()
        threading.Event().wait()
    task = asyncio.create_task(aside(forever))
    await asyncio.to_thread(begun.wait)
    task.cancel()

asyncio.run(main())
"""


def test_what_it_gives_and_what_it_raises() -> None:
    async def main() -> None:
        assert await aside(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await aside(divmod, 7, 0)
        assert await aside(threading.current_thread) is not threading.main_thread()

    asyncio.run(main())


def test_a_program_that_ends_does_not_wait_for_it() -> None:
    done = subprocess.run([sys.executable, "-c", ENDING], timeout=30, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
