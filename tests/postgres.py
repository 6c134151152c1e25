"""A PostgreSQL server of the tests' own, on a socket in a folder of theirs."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SETTINGS = {
    "listen_addresses": "''", "fsync": "off", "synchronous_commit": "off",
    "full_page_writes": "off", "max_connections": "60", "shared_buffers": "64MB",
}  # fmt: skip


def programs() -> Path | None:
    """The folder of the newest PostgreSQL's programs, or None."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda path: int(path.parts[4])).parent
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


@contextmanager
def server() -> Iterator[str]:
    """The SQLAlchemy URL of a new server, with ``{database}`` where the database's name belongs.

    The server refuses to run as root: it is given to the user postgres then.
    """
    where = programs()
    assert where is not None, "there is no PostgreSQL: run ./scripts/test, which installs it"
    owner = pwd.getpwnam("postgres") if os.getuid() == 0 else None
    place = Path(tempfile.mkdtemp(prefix="gitdags-pg-", dir="/tmp"))
    data = place / "data"
    if owner:
        os.chown(place, owner.pw_uid, owner.pw_gid)

    def run(*words: str | Path) -> None:
        subprocess.run(
            [str(word) for word in words], check=True, capture_output=True, cwd=place,
            user=owner.pw_uid if owner else None, group=owner.pw_gid if owner else None,
            extra_groups=[] if owner else None,
        )  # fmt: skip

    options = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
    try:
        run(where / "initdb", "-D", data, "-A", "trust", "-U", "gitdags", "-E", "UTF8", "--no-sync")
        run(
            where / "pg_ctl",
            "-D",
            data,
            "-w",
            "-l",
            place / "log",
            "-o",
            f"{options} -k {place}",
            "start",
        )
        try:
            yield f"postgresql+psycopg://gitdags@/{{database}}?host={place}"
        finally:
            run(where / "pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(place, ignore_errors=True)
