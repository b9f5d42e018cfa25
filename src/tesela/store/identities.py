"""Users, groups and service principals, and who belongs to what."""

from tesela.store.database import Database


class Identities:
    def __init__(self, database: Database) -> None:
        self._database = database
