"""Endpoints that were made through the API: their configuration, the one that waits, and how the update went."""

from tesela.store.database import Database
from tesela.store.vault import Vault


class Endpoints:
    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
