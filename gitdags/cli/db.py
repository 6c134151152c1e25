"""gitdags db: the schema of the store."""

from __future__ import annotations

import argparse

from gitdags.cli.context import Context
from gitdags.store import Store


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    parser.add_argument("action", choices=("upgrade", "current"))


def run(context: Context, args: argparse.Namespace) -> int:
    """Print the revision; exit 1 where `current` is not this version's."""
    from gitdags.store.schema import REVISION

    store = Store(context.settings.database)
    try:
        found = store.upgrade() if args.action == "upgrade" else store.revision()
    finally:
        store.close()
    if context.json:
        context.write_json({"revision": found, "wanted": REVISION})
    else:
        context.out.print(found or "none")
        if found != REVISION:
            newer = found is not None and found > REVISION
            mend = "pip install --upgrade gitdags" if newer else "gitdags db upgrade"
            context.note(f"this gitdags wants {REVISION}\nhint: {mend}")
    return 0 if found == REVISION else 1
