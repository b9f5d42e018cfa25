"""The handlers under /api/2.0 and the small documents that clients ask for while starting."""

from tesela.control.facts import Facts
from tesela.control.routes import PUBLIC, Application, is_public, routes

__all__ = ["PUBLIC", "Application", "Facts", "is_public", "routes"]
