"""The store as one object: the database, the vault, and a part for each kind of thing."""

from pathlib import Path

from tesela.store.audit import Audit
from tesela.store.client_secrets import ClientSecrets
from tesela.store.database import Database, home_url
from tesela.store.endpoints import Endpoints
from tesela.store.identities import Identities
from tesela.store.permissions import Permissions
from tesela.store.secrets import Secrets
from tesela.store.signing import SigningKeys
from tesela.store.tokens import Tokens
from tesela.store.vault import Vault, mark


class Store:
    """The store of a home folder, in the database at `url` or in a file of that folder.

    One object serves all threads of a process.  Every method may wait for a disk or a network, for at most some
    seconds, and raises StoreUnavailable then.
    """

    def __init__(self, home: Path, url: str = "", *, key: bytes) -> None:
        self.home = home
        self.database = Database(url or home_url(home), key_mark=mark(key))
        self.vault = vault = Vault(key)
        self.endpoints = Endpoints(self.database, vault)
        self.identities = Identities(self.database)
        self.tokens = Tokens(self.database)
        self.secrets = Secrets(self.database, vault)
        self.permissions = Permissions(self.database)
        self.signing = SigningKeys(self.database, vault)
        self.client_secrets = ClientSecrets(self.database)
        self.audit = Audit(self.database)

    def close(self) -> None:
        self.database.close()
