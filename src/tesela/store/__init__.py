"""What outlives a restart."""

from tesela.store.sqlite import Store, TokenInfo, Workspace

__all__ = ["Store", "TokenInfo", "Workspace"]
