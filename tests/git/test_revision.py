"""Revisions: what a person typed becomes a commit, or an error that helps."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitdags.git import (
    BadRevision,
    Repository,
    ShallowHistory,
    is_sha,
    parse_instant,
    resolve,
    split_range,
)
from gitdags.model import Move
from tests.conftest import Repo

NOW = datetime(2025, 6, 1, 10, tzinfo=UTC)


@pytest.fixture
def history(repo: Repo) -> list[str]:
    """Three commits, of the first three days of January 2025."""
    return [repo.commit({"file": str(n)}, f"number {n}") for n in range(3)]


def commit_of(repo: Repo, rev: str) -> str:
    return resolve(Repository(repo.path), rev).commit


@pytest.mark.parametrize(
    ("rev", "index"),
    [
        ("HEAD", 2), ("@", 2), ("main", 2), ("refs/heads/main", 2), ("heads/main", 2),
        ("HEAD~", 1), ("HEAD^", 1), ("HEAD~2", 0), ("main^^", 0), ("main~1^", 0), ("HEAD~0", 2),
        ("HEAD^0", 2), ("HEAD^{}", 2), ("HEAD^{commit}~", 1), ("HEAD@{0}", 2), ("main@{1}", 1),
        ("@{1}", 1), ("@~2", 0),
    ],
)  # fmt: skip
def test_the_forms_git_knows(repo: Repo, history: list[str], rev: str, index: int) -> None:
    assert commit_of(repo, rev) == history[index]
    assert repo("rev-parse", rev + "^{commit}") == history[index]


def test_full_and_abbreviated_ids(repo: Repo, history: list[str]) -> None:
    for sha in history:
        assert commit_of(repo, sha) == sha
        assert commit_of(repo, sha.upper()) == sha
        assert commit_of(repo, sha[:9]) == sha
        assert commit_of(repo, f"v1.0-3-g{sha[:9]}") == sha


def test_an_annotated_tag_is_peeled_also_by_its_own_id(repo: Repo, history: list[str]) -> None:
    repo("tag", "-a", "v1", "-m", "one", history[0])
    tag = repo("rev-parse", "v1")
    assert tag != history[0]
    assert commit_of(repo, "v1") == commit_of(repo, tag) == commit_of(repo, tag[:10]) == history[0]
    repo("tag", "-a", "v2", "-m", "a tag of a tag", "v1")
    assert commit_of(repo, "v2~0") == history[0]


def test_tag_before_branch_with_a_warning(repo: Repo, history: list[str]) -> None:
    repo("branch", "same", history[0])
    repo("tag", "same", history[1])
    found = resolve(Repository(repo.path), "same")
    assert found.commit == history[1]
    assert found.ref == "refs/tags/same"
    assert "refs/heads/same" in found.warnings[0]
    assert commit_of(repo, "heads/same") == history[0]


def test_an_exact_ref_beats_an_abbreviation(repo: Repo, history: list[str]) -> None:
    repo("branch", history[0][:8], history[2])
    assert commit_of(repo, history[0][:8]) == history[2]


def test_forty_digits_are_the_object_and_a_ref_so_named_by_its_full_name(
    repo: Repo, history: list[str]
) -> None:
    repo("update-ref", f"refs/heads/{history[0]}", history[2])
    assert commit_of(repo, history[0]) == history[0]
    assert commit_of(repo, f"refs/heads/{history[0]}") == history[2]


def test_several_commits_under_one_abbreviation_are_listed(repo: Repo) -> None:
    by_prefix: dict[str, str] = {}
    tree = repo("hash-object", "-t", "tree", "-w", "--stdin", input=b"")
    for n in range(3000):
        sha = repo("commit-tree", tree, "-m", str(n))
        other = by_prefix.setdefault(sha[:4], sha)
        if other != sha:
            break
    repo("update-ref", "refs/heads/main", sha)
    with pytest.raises(BadRevision) as caught:
        commit_of(repo, sha[:4])
    assert sha[:16] in caught.value.message
    assert other[:16] in caught.value.message


@pytest.mark.parametrize(
    ("rev", "word"),
    [
        ("", "empty"), ("nope", "names no commit"), ("--upload-pack=x", "dash"), ("-x", "dash"),
        ("..", "range"), ("a..b", "range"), ("main...HEAD", "range"), ("a\0b", "malformed"),
        ("x" * 10_000, "longer than"), (":/text", "searches"), ("HEAD^{/text}", "searches"),
        ("HEAD:file", "file"), ("HEAD^{tree}", "tree"), ("HEAD^{blob}", "blob"), ("HEAD^@", "several"),
        ("HEAD^!", "several"), ("HEAD~99", "reaches past"), ("HEAD^2", "reaches past"),
        ("HEAD@{7}", "reflog"), ("HEAD@{soon}", "no date"), ("nope@{1}", "names no ref"),
        ("@{-1}", "reflog"), ("main@{u}", "upstream"), ("HEAD~x", "malformed"), ("a b", "malformed"),
        ("main\n", "malformed"), ("0" * 40, "no commit"), ("abcd", "names no commit"),
        ("main@{1990-01-01}", "before the first commit"), ("\udce4", "names no commit"),
    ],
)  # fmt: skip
def test_what_is_no_revision_is_refused_with_a_hint(
    repo: Repo, history: list[str], rev: str, word: str
) -> None:
    with pytest.raises(BadRevision) as caught:
        commit_of(repo, rev)
    assert word in caught.value.message
    assert caught.value.hint
    assert len(caught.value.message) < 250
    assert caught.value.message.isprintable()


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200
)
@given(rev=st.text(st.sampled_from("HEADmain~^@{}0123456789abcdef/:.-u ")))
def test_whatever_is_typed_resolves_as_git_would_or_is_refused(repo: Repo, rev: str) -> None:
    if not (repo.path / ".git/refs/heads/main").exists():
        repo.commit({"a": "1"})
        repo.commit({"a": "2"})
    try:
        found = commit_of(repo, rev)
    except BadRevision:
        return
    assert is_sha(found)
    git = repo("rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}", check=False)
    assert git in ("", found)


def test_a_shallow_clone_says_where_history_ends(repo: Repo, history: list[str]) -> None:
    repo("clone", "-q", "--depth", "2", f"file://{repo.path}", str(repo.path.parent / "shallow"))
    shallow = Repository(repo.path.parent / "shallow")
    assert resolve(shallow, "HEAD~1").commit == history[1]
    with pytest.raises(ShallowHistory, match=history[1][:12]):
        resolve(shallow, "HEAD~2")
    assert [c.sha for c in shallow.first_parents(history[2])] == history[:0:-1]
    assert [c.sha for c in shallow.log(history[2], full=True)] == history[:0:-1]


class TestDates:
    def test_commit_dates_where_nothing_was_recorded(self, repo: Repo, history: list[str]) -> None:
        bare = repo.path.parent / "bare.git"
        repo("clone", "-q", "--bare", str(repo.path), str(bare))
        opened = Repository(bare)
        found = resolve(opened, "main@{2025-01-02}", now=NOW)
        assert (found.commit, found.source) == (history[1], "commit date")
        assert resolve(opened, "main@{2025-01-02T11:59:59}", now=NOW).commit == history[0]
        assert resolve(opened, "main@{2025-01-02T13:00:00+01:00}", now=NOW).commit == history[1]

    def test_a_deployment_before_the_reflog_before_dates(
        self, repo: Repo, history: list[str]
    ) -> None:
        opened = Repository(repo.path)
        moves = [Move(datetime(2025, 1, 2, 1, tzinfo=UTC), history[0])]
        rev = "main@{2025-01-02}"
        found = resolve(opened, rev, moves=lambda ref: moves if ref == "refs/heads/main" else ())
        assert (found.commit, found.source) == (history[0], "deployment")
        assert resolve(opened, rev).source == "reflog"
        assert resolve(opened, rev).commit == history[1]

    def test_a_deployment_after_the_instant_does_not_count(
        self, repo: Repo, history: list[str]
    ) -> None:
        moves = [Move(datetime(2025, 5, 1, tzinfo=UTC), history[0])]
        found = resolve(Repository(repo.path), "main@{2025-01-02}", moves=lambda _: moves)
        assert found.source == "reflog"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2025-03-01", datetime(2025, 3, 1, 23, 59, 59, 999999, tzinfo=UTC)),
            ("2025-03-01 10:00", datetime(2025, 3, 1, 10, tzinfo=UTC)),
            ("2025-03-01T10:00:00Z", datetime(2025, 3, 1, 10, tzinfo=UTC)),
            ("2025-03-01T10:00:00-05:00", datetime(2025, 3, 1, 15, tzinfo=UTC)),
            ("now", NOW),
            ("yesterday", datetime(2025, 5, 31, 23, 59, 59, 999999, tzinfo=UTC)),
            ("2 days ago", datetime(2025, 5, 30, 10, tzinfo=UTC)),
            ("1.hour.ago", datetime(2025, 6, 1, 9, tzinfo=UTC)),
            ("soon", None),
            ("999999 weeks ago", None),
            ("", None),
        ],
    )
    def test_instants(self, text: str, expected: datetime | None) -> None:
        assert parse_instant(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a..b", ("a", "b")), ("a..", ("a", "HEAD")), ("..b", ("HEAD", "b")), ("main", None),
        ("HEAD~3..HEAD", ("HEAD~3", "HEAD")), ("v1.0", None),
    ],
)  # fmt: skip
def test_ranges(text: str, expected: tuple[str, str] | None) -> None:
    assert split_range(text) == expected


@pytest.mark.parametrize("text", ["..", "a...b", "a..b..c"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(BadRevision):
        split_range(text)
