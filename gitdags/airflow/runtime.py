"""What a try runs with beside its commit: versions, the image, a hash of the installed packages.

Naming the packages takes a tenth of a second, so that it is done once a host, by a thread, and kept in
a file beside the times of the folders they lie in. Until then a stamp does without.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import sys
import threading
from pathlib import Path


class Runtime:
    """This process's surroundings; ``cache`` is a folder of this host, made when it is written to."""

    def __init__(self, cache: Path, image: str = "") -> None:
        self._cache = cache
        self._known = {
            "airflow_version": _airflow_version(),
            "python": platform.python_version(),
            "image": image or None,
        }
        self._packages: str | None = None
        self._asked = False

    def fields(self) -> dict[str, str | None]:
        """Of a stamp: airflow_version, python, image, packages; None for what is not known yet."""
        return {**self._known, "packages": self._packages or self.warm()}

    def warm(self, *, wait: bool = False) -> str | None:
        """The packages' hash, from the cache; else None, and a thread sets out to make it.

        ``wait``: make it at once instead; a scheduler forks, and has no use for threads then.
        """
        if self._packages is None and not self._asked:
            self._asked = True
            self._packages = self._cached()
            if self._packages is None and wait:
                self._make()
            elif self._packages is None:
                threading.Thread(target=self._make, name="gitdags-packages", daemon=True).start()
        return self._packages

    def _make(self) -> None:
        self._packages = packages()
        content = json.dumps({"folders": _folders(), "packages": self._packages})
        with contextlib.suppress(OSError):  # the next process makes it again
            self._cache.mkdir(parents=True, exist_ok=True)
            aside = self._file.with_suffix(f".{os.getpid()}")
            aside.write_text(content)
            os.replace(aside, self._file)

    def _cached(self) -> str | None:
        try:
            content = json.loads(self._file.read_text())
            same = content["folders"] == _folders()
            return str(content["packages"]) if same else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def _file(self) -> Path:
        place = hashlib.sha256(os.fsencode(sys.prefix)).hexdigest()[:16]
        return self._cache / f"packages-{place}.json"


def packages() -> str:
    """SHA-256 of the installed distributions: ``name==version``, sorted, a line each."""
    lines = {
        f"{(dist.name or '').lower().replace('_', '-')}=={dist.version}\n"
        for dist in importlib.metadata.distributions()
    }
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _folders() -> dict[str, int]:
    """Folders that packages are installed in, and their mtimes in ns: installing one changes it."""
    found = {}
    for folder in sys.path:
        if os.path.basename(folder) in ("site-packages", "dist-packages"):
            with contextlib.suppress(OSError):
                found[folder] = os.stat(folder).st_mtime_ns
    return found


def _airflow_version() -> str | None:
    version = getattr(sys.modules.get("airflow"), "__version__", None)
    return version if isinstance(version, str) else None
