"""What all statements of a process have in common."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from tesela.sql.calls.values import Owner
from tesela.sql.site import PlanSettings
from tesela.sql.statements.endpoints import Endpoints


class Setting(msgspec.Struct, frozen=True):
    """What all statements have in common.  `endpoints` looks endpoints up as somebody."""

    folder: Path
    plan: PlanSettings
    endpoints: Callable[[Owner], Endpoints]
    calls_url: str
    concurrency: int
    statements: int
    results_s: float
    results_bytes: int
