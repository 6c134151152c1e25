"""Errors and exit codes: one clear line, a hint, never a traceback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gitdags.cli.main import COMMANDS, main, parser
from gitdags.config import SETTINGS
from tests.conftest import Repo, Run, dag

README = Path(__file__).parent.parent.parent / "README.md"


def test_every_command_and_setting_is_in_the_readme_or_the_docs() -> None:
    pages = [README, *(README.parent / "docs").glob("*.md")]
    docs = "".join(page.read_text() for page in pages)
    for command in COMMANDS:
        assert f"gitdags {command}" in docs, command
    for setting in SETTINGS:
        assert f"`{setting.name}`" in docs, setting.name


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        with pytest.raises(SystemExit) as end:
            parser([command]).parse_args([command, "--help"])
        assert end.value.code == 0
    assert "usage: gitdags" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        (), ("dance",), ("ls", "--steam"), ("-c", "jobs", "ls"), ("-c", "colour=blue", "repos"),
        ("-c", "jobs=many", "config"), ("db", "sideways"), ("completion", "cmd"), ("log", "-n", "x"),
    ],
)  # fmt: skip
def test_usage_errors_exit_2(gitdags: Run, words: tuple[str, ...]) -> None:
    done = gitdags(*words)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def known_error(done: subprocess.CompletedProcess[str], word: str) -> None:
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    error, hint = done.stderr.strip().splitlines()[-2:]
    assert re.match("error: .*" + re.escape(word), error), error
    assert error.isprintable()
    assert len(error) < 300
    assert hint.startswith("hint: ")


class TestBadInput:
    def test_nothing_registered(self, gitdags: Run) -> None:
        known_error(gitdags("ls"), "no repository is registered yet")

    def test_no_repository_there(self, gitdags: Run, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        known_error(gitdags("init", str(tmp_path / "empty")), "is no Git repository")
        known_error(gitdags("init", str(tmp_path / "absent")), "there is no")

    def test_an_empty_repository(self, gitdags: Run) -> None:
        known_error(gitdags("init", "."), "has no commit yet")

    def test_names(self, gitdags: Run, repo: Repo) -> None:
        repo.commit({"a": "1"})
        for name in ("api", "UPPER", "-x", "a/b", "x" * 64):
            done = gitdags("init", ".", f"--name={name}")
            assert done.returncode == 2
            assert "cannot be a repository's name" in done.stderr

    def test_a_name_taken(self, gitdags: Run, repo: Repo) -> None:
        repo.commit({"a": "1"})
        assert gitdags("init", ".").returncode == 0
        other = Repo(repo.path.parent / "other")
        other.commit({"a": "1"})
        done = gitdags("init", str(other.path), "--name", "repo")
        assert done.returncode == 2
        assert "already the name of" in done.stderr

    @pytest.mark.parametrize(
        "url",
        ["ext::sh -c 'touch x'", "git://example.org/x", "http://example.org/x", "--upload-pack=x"],
    )
    def test_urls_that_are_not_fetched(self, gitdags: Run, repo: Repo, url: str) -> None:
        done = gitdags("init", "--", url)
        assert done.returncode in (2, 3)
        assert "error: " in done.stderr
        assert not (repo.path / "x").exists()

    @pytest.mark.parametrize(
        "rev",
        ["nope", "--upload-pack=x", "..", "x" * 10_000, ":/x", "HEAD~9", "<script>", "\x1b[31m"],
    )
    def test_revisions(self, gitdags: Run, repo: Repo, rev: str) -> None:
        repo.commit({"a": "1"})
        gitdags("init", ".")
        known_error(gitdags("ls", f"--at={rev}"), "")

    def test_a_store_from_a_newer_version(self, gitdags: Run, repo: Repo, tmp_path: Path) -> None:
        import sqlite3

        repo.commit({"a": "1"})
        gitdags("init", ".")
        connection = sqlite3.connect(tmp_path / "home" / "gitdags.db")
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
        connection.close()
        known_error(gitdags("repos"), "schema 9999")

    def test_no_airflow_in_the_interpreter(self, gitdags: Run, repo: Repo) -> None:
        import venv

        repo.commit({"dags/a.py": dag("a")})
        bare = repo.path.parent / "bare"
        venv.create(bare, with_pip=False, symlinks=True)
        gitdags("init", ".")
        python = str(bare / "bin" / "python")
        airflow = gitdags("-c", "engine=airflow", "ls", GITDAGS_PYTHON=python)
        known_error(airflow, "has no Airflow")
        known_error(gitdags("ls", GITDAGS_PYTHON="/nowhere/python"), "cannot run")
        # All else works without it: the DAGs are recorded.
        listed = gitdags("ls", GITDAGS_PYTHON=python)
        assert listed.returncode == 0
        assert "dags/a.py  ◌" in listed.stdout
        assert "1 DAG recorded without Airflow" in listed.stderr


def test_git_variables_of_another_repository_do_not_matter(gitdags: Run, repo: Repo) -> None:
    sha = repo.commit({"a": "1"})
    other = Repo(repo.path.parent / "other")
    other.commit({"b": "1"})
    elsewhere = {"GIT_DIR": str(other.path / ".git"), "GIT_WORK_TREE": str(other.path)}
    done = gitdags("init", ".", **elsewhere)
    assert (done.returncode, f"of {repo.path}" in done.stdout) == (0, True)
    done = gitdags("export", "HEAD", str(repo.path.parent / "out"), **elsewhere)
    assert done.stdout.startswith(sha[:12])


def test_a_bug_is_kept_in_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITDAGS_HOME", str(tmp_path))
    monkeypatch.setattr("gitdags.cli.repos.run", lambda *_: 1 / 0)
    assert main(["repos"]) == 70
    err = capsys.readouterr().err
    (log,) = (tmp_path / "logs").iterdir()
    assert f"hint: cat {log}" in err
    assert "ZeroDivisionError" in log.read_text()
    assert "Traceback" not in err


def test_a_reader_that_leaves_is_no_error(gitdags: Run, repo: Repo, tmp_path: Path) -> None:
    repo.commit({"a": "1"})
    gitdags("init", ".")
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GITDAGS_HOME": str(tmp_path / "home"),
    }
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "gitdags.cli.main", "config"],
        stdout=write, stderr=subprocess.PIPE, env=env, cwd=repo.path,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_interrupted_and_resumed(
    gitdags: Run, repo: Repo, tmp_path: Path, airflow_python: str
) -> None:
    # So many that it cannot be done before it hears that it is interrupted.
    for n in range(28):
        repo.commit({f"dags/{name}.py": dag(f"{name}-{n}") for name in "abcdef"})
    gitdags("init", ".")
    env = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "GITDAGS_HOME": str(tmp_path / "home"),
        "GITDAGS_PYTHON": airflow_python,
    }  # fmt: skip
    running = subprocess.Popen(
        [sys.executable, "-m", "gitdags.cli.main", "-v", "index", "--all"],
        stderr=subprocess.PIPE, text=True, env=env, cwd=repo.path, start_new_session=True,
    )  # fmt: skip
    assert running.stderr is not None
    assert running.stderr.readline().startswith("1/28")
    os.killpg(running.pid, signal.SIGINT)
    rest = running.stderr.read()
    running.stderr.close()
    assert running.wait() == 130
    assert "Traceback" not in rest
    done = gitdags("--json", "index", "--all", GITDAGS_PYTHON=airflow_python)
    report = json.loads(done.stdout)
    assert report["commits"] == 28
    assert 0 < report["parsed"] < 28 * 6
    assert gitdags("index", "--all").stdout == "nothing to parse: 28 commits, all indexed\n"
