"""From permissions as they are kept to the sets that a request looks into."""

from collections.abc import Mapping

from tesela.snapshot import LEVELS, Grants, Level


def grants(permissions: Mapping[str, Mapping[str, Level]], ids: Mapping[str, str]) -> dict[str, Grants]:
    """Who may see, query and manage, by the endpoint's name; `permissions` and the values of `ids` go by its id.

    Endpoints that nobody was granted are left out.
    """
    out: dict[str, Grants] = {}
    for name, endpoint in ids.items():
        held = permissions.get(endpoint)
        if held:
            out[name] = Grants(*(frozenset(who for who, level in held.items() if _covers(level, of)) for of in LEVELS))
    return out


def _covers(held: Level, wanted: Level) -> bool:
    return LEVELS.index(held) >= LEVELS.index(wanted)
