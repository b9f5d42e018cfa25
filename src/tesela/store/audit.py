"""Who changed what, when and from where."""

from tesela.store.database import Database


class Audit:
    def __init__(self, database: Database) -> None:
        self._database = database
