"""Secret scopes, their values (sealed) and who may read, write or manage them."""

from tesela.store.database import Database
from tesela.store.vault import Vault


class Secrets:
    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
