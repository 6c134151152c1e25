"""An index of wheels made on the spot, for environments that uv really builds; no registry."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from gitdags.serialize import builds
from gitdags.serialize.builds import CannotBuild

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


def make_wheel(
    folder: Path, name: str = "era_tool", version: str = "1.0", requires: str = ""
) -> None:
    """A wheel of one module that says its version."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        needs = "".join(f"Requires-Dist: {one.strip()}\n" for one in requires.split(",") if one)
        told = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
        wheel.writestr(f"{info}/METADATA", told)
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


def make_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that uv takes packages from until the test ends."""
    try:
        builds.uv()
    except CannotBuild:
        pytest.skip("no uv: run ./scripts/test")
    folder = tmp_path / "wheels"
    make_wheel(folder)
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return folder
