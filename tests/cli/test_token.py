"""gitdags token, through the command itself."""

from __future__ import annotations

import json

from tests.conftest import Run


def test_create_list_revoke(gitdags: Run) -> None:
    made = gitdags("token", "create", "--scope", "stamp", "--name", "workers", "--days", "3")
    assert made.returncode == 0
    assert made.stdout.startswith("gitdags_")
    assert len(made.stdout.splitlines()) == 1
    listed = json.loads(gitdags("--json", "token", "list").stdout)
    assert [(t["name"], t["scope"], t["revoked_at"]) for t in listed] == [
        ("workers", "stamp", None)
    ]
    assert made.stdout.strip().split("_")[2] not in gitdags("token", "list").stdout
    assert gitdags("token", "revoke", listed[0]["id"]).returncode == 0
    assert "revoked" in gitdags("token", "list").stdout
    again = gitdags("token", "revoke", listed[0]["id"])
    assert again.returncode == 3
    assert "hint: gitdags token list" in again.stderr


def test_words_that_do_not_fit(gitdags: Run) -> None:
    assert gitdags("token", "create", "--days", "0").returncode == 2
    assert gitdags("token", "create", "--scope", "root").returncode == 2
    assert gitdags("token").returncode == 2
