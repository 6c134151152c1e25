"""The store: documents by hash, and what each commit holds. The only importer of SQLAlchemy."""

from gitdags.store.engine import NewerStore, OlderStore, StoreUnavailable
from gitdags.store.rows import FoundDag, Snapshot
from gitdags.store.store import Store

__all__ = ["FoundDag", "NewerStore", "OlderStore", "Snapshot", "Store", "StoreUnavailable"]
