"""The sandbox that a warm parser runs in: which of its tiers this machine can have, and the command.

`full` is bubblewrap with namespaces of its own for every file; `landlock` is Landlock and seccomp
alone; `off` is neither. What happens inside is `worker/confine`. A tier counts as available only
when a rehearsal with everything that a parse does has succeeded, so what is chosen holds.
"""

from __future__ import annotations

import functools
import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gitdags.errors import GitdagsError, shown

Tier = Literal["full", "landlock", "off"]
FULL: Tier = "full"
LANDLOCK: Tier = "landlock"
OFF: Tier = "off"

WORKER = Path(__file__).parent / "worker"
TREES = "/trees"
"""Where the folder of all trees is bound for the warm parent; every file finds it covered."""
NEWEST_LANDLOCK = 1 << 16

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    "alternatives", "ca-certificates", "ld.so.cache", "localtime", "mime.types", "os-release",
    "pki/tls/certs", "pki/ca-trust", "ssl/certs", "ssl/openssl.cnf",
)  # fmt: skip
_WRITTEN = {
    "passwd": "dag:x:1000:1000::/tmp:/usr/sbin/nologin\nroot:x:0:0::/tmp:/usr/sbin/nologin\n",
    "group": "dag:x:1000:\nroot:x:0:\n",
    "hosts": "127.0.0.1 localhost dag\n::1 localhost\n",
    "hostname": "dag\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
"""Files of /etc as the sandbox has them; without namespaces the machine's own are read."""
_CAPABILITIES = ("CAP_SYS_ADMIN", "CAP_SETFCAP")
"""What the warm parent needs inside: to make namespaces; to map its user into those (Linux 5.12)."""


class NoSandbox(GitdagsError):
    """The tier that was asked for cannot be had on this machine."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """The tier in force, and why it is not a better one ("" for full, or where it was asked for)."""

    tier: Tier
    reason: str = ""
    user: str = "nobody"
    """whom a gitdags that runs as root has DAG files run as"""

    @property
    def confined(self) -> bool:
        """Whether a DAG file can do nothing but describe its DAGs."""
        return self.tier != OFF


OPEN = Confinement(OFF)
"""No sandbox: for commits that are trusted, and for tests of everything else."""


def choose(wanted: str, user: str = "nobody") -> Confinement:
    """The best tier this machine has (``auto``), or the one asked for. Raises NoSandbox.

    ``user``: the ordinary user that root becomes; ignored for anybody else.
    """
    if wanted == OFF:
        return Confinement(OFF, "sandbox = off", user)
    reasons: list[str] = []
    for tier in (FULL, LANDLOCK):
        if wanted not in ("auto", tier):
            continue
        reason = _unavailable(tier, user)
        if not reason:
            return Confinement(tier, "; ".join(reasons), user)
        reasons.append(f"no {tier}: {reason}")
    if wanted != "auto":
        raise NoSandbox(f"sandbox = {wanted}, but here is {reasons[0]}", hint="gitdags doctor")
    return Confinement(OFF, "; ".join(reasons), user)


def settings(
    confinement: Confinement, home: Path, trees: Path | None, readable: Iterable[str], disk: int
) -> dict[str, Any]:
    """The worker's part of the configuration, as `worker/confine` wants it."""
    hidden = _hidden(_existing(readable), home, trees)
    return {
        "tier": confinement.tier,
        "home": str(home),
        "trees": str(trees or home / "trees"),
        "cover": TREES,
        "kept": [[f"/kept/{n}", path] for n, path in enumerate(hidden)],
        "readable": [
            *_SYSTEM,
            *(f"/etc/{name}" for name in (*_ETC, *_WRITTEN)),
            *readable,
            str(WORKER),
        ],
        "user": _number(confinement.user),
        "disk": disk,
        "landlock": NEWEST_LANDLOCK,
    }


def command(
    confinement: Confinement, home: Path, trees: Path | None, readable: Iterable[str]
) -> list[str]:
    """The words to put before the worker's own in tier full; [] in the others.

    Inside are the system's programs, ``readable`` (the environment), the worker, the trees, and
    an empty ``home`` and /tmp. Root starts two: the outer one opens what root alone may read and
    becomes the ordinary user, for whom alone limits on processes hold; the inner one confines.
    """
    if confinement.tier != FULL:
        return []
    program = _bubblewrap()
    places = _existing([*readable, str(WORKER)])
    pairs = [(f"/etc/{name}", f"/etc/{name}") for name in _ETC if os.path.exists(f"/etc/{name}")]
    for name, text in _WRITTEN.items():
        (home / name).write_text(text)
        pairs.append((str(home / name), f"/etc/{name}"))
    pairs += [(path, path) for path in places]
    pairs += [(path, f"/kept/{n}") for n, path in enumerate(_hidden(places, home, trees))]
    if trees is not None:
        pairs.append((str(trees), TREES))
    outer: list[str] = []
    if os.getuid() == 0:
        outer = [program, "--die-with-parent", "--tmpfs", "/tmp", *_system()]  # noqa: S108 its own
        outer += ["--dev-bind", "/dev", "/dev", "--bind", "/proc", "/proc", *_bound(pairs)]
        user = str(_number(confinement.user))
        outer += ["--", "setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--"]
        pairs = [(target, target) for _, target in pairs]
    inner = [program, "--die-with-parent", "--new-session", "--as-pid-1"]
    inner += [f"--unshare-{name}" for name in ("user", "pid", "net", "ipc", "uts", "cgroup-try")]
    inner += ["--uid", "0", "--gid", "0", "--hostname", "dag", "--cap-drop", "ALL"]
    inner += [word for name in _CAPABILITIES for word in ("--cap-add", name)]
    inner += [*_system(), "--proc", "/proc", "--dev", "/dev"]
    inner += ["--tmpfs", "/tmp", "--tmpfs", str(home), *_bound(pairs)]  # noqa: S108 its own
    inner += ["--dir", str(trees)] if trees is not None else ["--dir", TREES]
    inner += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", str(home), "--"]
    return outer + inner


def processes(confinement: Confinement, most: int) -> int:
    """The limit on processes and threads that lets a file have ``most``; -1 for none.

    Linux counts all of a user's. In a user namespace of its own a file is alone; in tier landlock
    what else the user runs now is added; without a tier it would be a guess, and is left.
    """
    if confinement.tier == OFF:
        return -1
    if confinement.tier == FULL:
        return most
    user = _number(confinement.user) if os.getuid() == 0 else os.getuid()
    return most + sum(_threads(entry, user) for entry in os.scandir("/proc"))


def _threads(entry: os.DirEntry[str], user: int) -> int:
    """How many threads a process has, if it is this user's."""
    try:
        if not entry.name.isdigit() or entry.stat().st_uid != user:
            return 0
        return len(os.listdir(f"/proc/{entry.name}/task"))
    except OSError:
        return 0  # it has ended


def hand_over(confinement: Confinement, folder: Path) -> None:
    """Give a folder that was made for a DAG file to the user it runs as."""
    if confinement.tier == LANDLOCK and os.getuid() == 0:
        user = _number(confinement.user)
        os.chown(folder, user, user)


@functools.cache
def _unavailable(tier: Tier, user: str) -> str:
    """Why a tier cannot be had, or ""; found out by rehearsing it, once a process."""
    if tier == FULL and shutil.which("bwrap") is None:
        return "bubblewrap is not installed (apt-get install bubblewrap)"
    confinement = Confinement(tier, user=user)
    if os.getuid() == 0:
        try:
            _number(user)
        except KeyError:
            return f"there is no user {shown(user)} (sandbox_user)"
    own = {sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib")}
    readable = sorted(own - {"/usr", "/usr/local"})
    with tempfile.TemporaryDirectory(prefix="gitdags-rehearsal-") as folder:
        home = Path(folder).resolve()
        trees = home.with_name(home.name + ".trees")
        trees.mkdir()
        try:
            (trees / "repo").mkdir()
            for place in (home, trees, trees / "repo"):
                place.chmod(0o755)
            given = settings(confinement, home, trees, readable, 1 << 20)
            words = command(confinement, home, trees, readable)
            words += [sys.executable, "-I", "-S", "-B", str(WORKER / "rehearse.py")]
            done = subprocess.run(
                words,
                input=json.dumps(given),
                capture_output=True,
                text=True,
                env={"PATH": os.defpath},
                timeout=30,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            return shown(str(error), 200)
        finally:
            shutil.rmtree(trees, ignore_errors=True)
    if done.returncode == 0:
        return ""
    said = done.stderr.strip().splitlines()
    return shown(said[-1] if said else f"exit code {done.returncode}", 200)


def _bubblewrap() -> str:
    return shutil.which("bwrap") or "/usr/bin/bwrap"


def _number(user: str) -> int:
    """The number of a user, who may be named by it. Raises KeyError."""
    return int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid


def _system() -> list[str]:
    """Words for the folders of the system's programs, links as links."""
    words: list[str] = []
    for place in _SYSTEM:
        if os.path.islink(place):
            words += ["--symlink", os.readlink(place), place]
        elif os.path.isdir(place):
            words += ["--ro-bind", place, place]
    return words


def _bound(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Words for read-only binds; a folder before what lies in it, and passable for everybody."""
    words: list[str] = []
    made: set[str] = set()
    for source, target in sorted(pairs, key=lambda pair: len(pair[1])):
        for parent in reversed([str(p) for p in Path(target).parents][:-1]):
            if not any(parent == place or parent.startswith(place + "/") for place in made):
                words += ["--dir", parent]  # bubblewrap would make it for its own user alone
        words += ["--ro-bind", source, target]
        made.add(target)
    return words


def _existing(paths: Iterable[str]) -> list[str]:
    """Those that are there, without what lies in another one or is there anyway."""
    kept: list[str] = []
    for path in sorted({path for path in paths if os.path.exists(path)}, key=lambda p: (len(p), p)):
        if not path.startswith(tuple(f"{place}/" for place in (*_SYSTEM, *kept))):
            kept.append(path)
    return kept


def _hidden(paths: Iterable[str], home: Path, trees: Path | None) -> list[str]:
    """Of these paths those that lie where every file gets a fresh folder of its own."""
    fresh = ["/tmp/", "/dev/shm/", f"{home}/", f"{trees or home}/"]  # noqa: S108 named, not used
    return [path for path in paths if path.startswith(tuple(fresh))]


def environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """The variables a parser starts with; nothing of the caller's is passed on."""
    own = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "HOME": str(home),
        "TMPDIR": str(home),
        "USER": "dag",
    }
    return own | dict(more)
