"""How much of this machine an endpoint's local model asks for, and which engine that means.

Endpoints that ask for nothing share one engine for each model; those that ask for the same size share one of that size.
"""

import math

import msgspec

from tesela.serving import ServedEntityInput

SLOTS = {"Small": 4, "Medium": 8, "Large": 16}
"""Requests at once for each `workload_size`: the least that the size means in a workspace, within what one machine can
hold (https://docs.databricks.com/aws/en/machine-learning/model-serving/create-manage-serving-endpoints)."""
TOKENS_PER_SLOT = 50
"""Tokens per second of provisioned throughput that one slot stands for."""
UNITS_PER_SLOT = 10
SLOTS_MAX = 16


class Size(msgspec.Struct, frozen=True):
    """`slots` is how many requests the engine works on at once; None leaves it to the model's own settings."""

    slots: int | None = None

    def engine(self, model: str) -> str:
        """The name of the engine that runs a model in this size."""
        return model if self.slots is None else f"{model}.s{self.slots}"


def size_of(entity: ServedEntityInput) -> Size:
    """What a served entity asks for: by throughput, by units, by concurrency or by workload size, in this order."""
    asked = (
        (entity.max_provisioned_throughput or entity.min_provisioned_throughput, TOKENS_PER_SLOT),
        (entity.provisioned_model_units, UNITS_PER_SLOT),
        (entity.max_provisioned_concurrency or entity.min_provisioned_concurrency, 1),
    )
    for amount, per_slot in asked:
        if amount:
            return Size(min(max(math.ceil(amount / per_slot), 1), SLOTS_MAX))
    return Size(SLOTS.get(entity.workload_size or ""))


def threads_of(slots: int | None, cores: int) -> int | None:
    """Processor threads for an engine of this size: all cores for one that is larger than `Small`, else what the engine
    takes by itself, which leaves cores to others."""
    return cores if slots is not None and slots > SLOTS["Small"] else None
