"""Who speaks at a site: the table of the functions."""

from collections.abc import Callable

from tesela.sql.site import Site
from tesela.sql.speak.base import Speaker
from tesela.sql.speak.queries import Similarity, query_speaker
from tesela.sql.speak.tasks import Generated, held


def speaker(site: Site) -> Speaker:
    return _SPEAKERS.get(site.function, held)(site)


_SPEAKERS: dict[str, Callable[[Site], Speaker]] = {
    "ai_query": query_speaker,
    "ai_gen": Generated,
    "ai_similarity": Similarity,
}
"""The others are held to a schema."""
