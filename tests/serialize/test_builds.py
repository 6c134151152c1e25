"""Recipes, and environments that uv really builds: here from a wheel made on the spot."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gitdags.errors import GitdagsError
from gitdags.serialize import builds
from gitdags.serialize.builds import BadRequirements, Builds, CannotBuild, Recipe, recipe
from tests.wheels import VERSION, make_wheel


class TestRecipes:
    def test_order_and_comments_make_no_difference(self) -> None:
        a = recipe("3.12", "b==1  # why\n\na>=2\n-i https://elsewhere.example/\n")
        b = recipe("3.12", "a >= 2\nb==1 --hash=sha256:00\n-c https://x.example/c.txt\n")
        assert a == b
        assert a.requirements == ("a>=2", "b==1")
        assert a.key == b.key
        assert recipe("3.11", "b==1\na>=2").key != a.key
        assert recipe("3.12", "b==1\na>=2", "c==1").key != a.key
        assert a.without == ("python-nvd3", "unicodecsv")
        assert recipe("3.12", "Python_NVD3\na").without == ("unicodecsv",)

    @pytest.mark.parametrize(
        "line",
        [
            "-e .", "-r other.txt", "./local", "../up", "/etc/passwd", "pkg @ file:///etc/passwd",
            "pkg @ https://evil.example/x.whl", "git+https://evil.example/x", "--editable=.", "a b",
            "$(touch /tmp/x)", "-r /etc/passwd",
        ],
    )  # fmt: skip
    def test_only_packages_can_be_named(self, line: str) -> None:
        with pytest.raises(BadRequirements):
            recipe("3.12", f"good==1\n{line}\n")

    @pytest.mark.parametrize("python", ["", "3", "2.7", "3.12 --seed", "/usr/bin/python", "3.1234"])
    def test_only_versions_of_python(self, python: str) -> None:
        with pytest.raises(BadRequirements, match="no version of Python"):
            recipe(python, "a")

    def test_nothing_to_build(self) -> None:
        with pytest.raises(BadRequirements, match="name no package"):
            recipe("3.12", "# nothing\n-i https://x.example\n")


class TestBuilding:
    def test_once_and_kept(self, index: Path, tmp_path: Path) -> None:
        made = Builds(tmp_path / "environments")
        wanted = recipe(VERSION, "era-tool==1.0")
        assert made.find(wanted) is None
        built = made.build(wanted)
        said = subprocess.run(
            [built.python, "-I", "-c", "import era_tool, sys; print(era_tool.VERSION, sys.prefix)"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        assert said == ["1.0", str(built.folder)]
        (index / "era_tool-1.0-py3-none-any.whl").unlink()
        assert made.build(wanted) == built  # nothing is asked of anybody again
        assert made.all() == [built]
        names = {path.name.removeprefix(wanted.key) for path in made._home.iterdir()}
        assert names == {"", ".json", ".log", ".lock"}
        made.remove(built)
        assert made.find(wanted) is None
        assert not built.folder.exists()

    def test_what_no_longer_builds_is_remembered(self, index: Path, tmp_path: Path) -> None:
        made = Builds(tmp_path / "environments")
        wanted = recipe(VERSION, "era-tool==2.0")
        with pytest.raises(CannotBuild, match=r"uv: .*era-tool") as error:
            made.build(wanted)
        assert error.value.hint.startswith("cat ")
        assert Path(error.value.hint.removeprefix("cat ")).read_text()
        make_wheel(index, version="2.0")
        with pytest.raises(CannotBuild):
            made.build(wanted)  # not tried at every commit
        assert made.build(wanted, again=True).problem == ""
        assert not list(made._home.glob("*.partial"))

    def test_what_no_parse_needs_is_left_out(self, index: Path, tmp_path: Path) -> None:
        make_wheel(index, "needy", requires="era-tool, no-wheel-here")
        made = Builds(tmp_path / "environments")
        with pytest.raises(CannotBuild, match="no-wheel-here"):
            made.build(recipe(VERSION, "needy"))
        built = made.build(recipe(VERSION, "needy", without=["no_wheel.here"]))
        assert list(built.folder.glob("lib/*/site-packages/era_tool.py"))

    def test_sources_are_never_built(self, index: Path, tmp_path: Path) -> None:
        """A source distribution runs its setup.py: with none but that there is nothing to install."""
        source = tmp_path / "evil-1.0"
        source.mkdir()
        (source / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
        (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
        subprocess.run(
            ["tar", "czf", index / "evil-1.0.tar.gz", "-C", tmp_path, source.name], check=True
        )
        with pytest.raises(CannotBuild):
            Builds(tmp_path / "environments").build(recipe(VERSION, "evil==1.0"))
        assert not (tmp_path / "ran").exists()

    def test_two_at_once_build_one(self, index: Path, tmp_path: Path) -> None:
        made = Builds(tmp_path / "environments")
        wanted = recipe(VERSION, "era-tool")
        found: list[str] = []
        threads = [
            threading.Thread(target=lambda: found.append(made.build(wanted).python))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 3
        assert len(set(found)) == 1

    def test_a_build_cut_off_is_begun_anew(self, index: Path, tmp_path: Path) -> None:
        made = Builds(tmp_path / "environments")
        wanted = recipe(VERSION, "era-tool")
        (made._home / f"{wanted.key}.partial" / "venv").mkdir(parents=True)
        (made._home / f"{wanted.key}.json").write_text("{")
        assert made.build(wanted).problem == ""

    def test_a_python_that_is_not_there(self, index: Path, tmp_path: Path) -> None:
        with pytest.raises(CannotBuild, match="uv"):
            Builds(tmp_path / "environments").build(Recipe("3.99", ("era-tool",)))


def test_without_uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitdagsError, match="no uv program") as error:
        builds.uv()
    assert error.value.hint == "pip install 'gitdags[uv]'"
