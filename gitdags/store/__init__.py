"""The store: documents by hash, and what each commit holds. The only importer of SQLAlchemy."""

from gitdags.store.store import (
    NewerStore,
    OlderStore,
    Snapshot,
    Store,
    StoreUnavailable,
)

__all__ = ["NewerStore", "OlderStore", "Snapshot", "Store", "StoreUnavailable"]
