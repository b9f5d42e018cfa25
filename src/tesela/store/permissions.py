"""Who may see, query and manage which endpoint."""

from tesela.store.database import Database


class Permissions:
    def __init__(self, database: Database) -> None:
        self._database = database
