"""What a served entity asks for, in requests at once and threads."""

from typing import Any

import pytest

from tesela.serving import ServedEntityInput
from tesela.sizing import size_of, threads_of


@pytest.mark.parametrize(
    ("asked", "slots"),
    [
        ({}, None),
        ({"workload_size": "Small"}, 4),
        ({"workload_size": "Medium"}, 8),
        ({"workload_size": "Large"}, 16),
        ({"min_provisioned_throughput": 0, "max_provisioned_throughput": 1}, 1),
        ({"max_provisioned_throughput": 51}, 2),
        ({"max_provisioned_throughput": 9_500}, 16),
        ({"provisioned_model_units": 50}, 5),
        ({"min_provisioned_concurrency": 4, "max_provisioned_concurrency": 8}, 8),
        ({"max_provisioned_throughput": 100, "workload_size": "Large"}, 2),
    ],
)
def test_sizes(asked: dict[str, Any], slots: int | None) -> None:
    size = size_of(ServedEntityInput(entity_name="m", **asked))
    assert size.slots == slots
    assert size.engine("m") == ("m" if slots is None else f"m.s{slots}")


@pytest.mark.parametrize(("slots", "threads"), [(None, None), (1, None), (4, None), (5, 12), (16, 12)])
def test_threads(slots: int | None, threads: int | None) -> None:
    assert threads_of(slots, 12) == threads
