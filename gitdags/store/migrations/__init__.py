"""Alembic's migrations of the store; run by `gitdags.store.migrate`."""
