"""Personal access tokens, kept as digests."""

from tesela.store.database import Database


class Tokens:
    def __init__(self, database: Database) -> None:
        self._database = database
