"""The keys that sign OAuth access tokens, and the OAuth secrets of service principals."""

from tesela.store.database import Database
from tesela.store.vault import Vault


class SigningKeys:
    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
