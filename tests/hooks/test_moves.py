"""Lines of hooks to moves: a model repository that tells less and more than happens, as git does."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from gitdags.hooks.moves import Moved, Seen, State, follow, parse

A, B, C, D = (letter * 40 for letter in "abcd")
ZERO = "0" * 40
MAIN = "refs/heads/main"


def state(refs: dict[str, str], **on: str) -> State:
    return State(refs, on)


def line(hook: str, old: str, new: str, ref: str, who: str = "", pid: int = 7) -> str:
    """As the hook prints it."""
    return f"\n1 {hook} 1764000000.25 {pid} {old} {new} {ref} {who} .\n"


class TestParse:
    def test_a_line(self) -> None:
        found = parse(line("reference-transaction", A, B, MAIN, "Ada L.").encode())
        assert found == [Seen(MAIN, A, B, 1764000000.25, "Ada L.", "reference-transaction 7")]

    def test_null_is_none(self) -> None:
        found = parse(line("post-receive", ZERO, B, MAIN).encode())
        assert (found[0].old, found[0].new) == (None, B)

    def test_clocks_that_know_no_fractions(self) -> None:
        for text in ("1764000000", "1764000000.N", "1764000000.%N"):
            raw = line("post-receive", A, B, MAIN).replace("1764000000.25", text)
            assert [seen.at for seen in parse(raw.encode())] == [1764000000.0]

    @given(st.integers(0, 200))
    def test_a_torn_line_is_none_and_spoils_no_other(self, at: int) -> None:
        whole = line("post-receive", A, B, "refs/heads/v1.2", "Ada").encode()
        torn = whole.rstrip()[:at]
        found = parse(torn + line("post-receive", B, C, MAIN).encode())
        assert found[-1].ref == MAIN
        assert all(seen.ref in (MAIN, "refs/heads/v1.2") for seen in found)

    def test_marks_and_other_refs_are_no_moves(self) -> None:
        lines = "\n1 post-commit - 7 - - - .\n" + "".join(
            line("reference-transaction", A, B, ref)
            for ref in ("ORIG_HEAD", "refs/stash", "refs/remotes/origin/main", "refs/gitdags/chain")
        )
        assert parse(lines.encode()) == []

    def test_no_name_breaks_out(self) -> None:
        raw = line("post-receive", A, B, MAIN, "x\x1b[2J\u202e" + "y" * 900)
        assert parse(raw.encode())[0].by == "x[2J" + "y" * 194

    @given(st.binary(max_size=300))
    def test_anything_is_read(self, data: bytes) -> None:
        parse(data)


class TestFollow:
    def test_two_hooks_one_move(self) -> None:
        seen = [Seen(MAIN, A, B, 1.0, "", "t 1"), Seen(MAIN, A, B, 1.1, "", "r 2")]
        assert follow(state({MAIN: A}), seen, state({MAIN: B})) == [Moved(MAIN, A, B, 1.0)]

    def test_to_and_fro_is_three(self) -> None:
        seen = [Seen(MAIN, old, new, 1.0) for old, new in ((A, B), (B, A), (A, B))]
        found = follow(state({MAIN: A}), seen, state({MAIN: B}))
        assert [(m.old, m.new) for m in found] == [(A, B), (B, A), (A, B)]

    def test_what_was_forced_begins_where_the_ref_was(self) -> None:
        found = follow(state({MAIN: A}), [Seen(MAIN, None, B, 1.0)], state({MAIN: B}))
        assert found == [Moved(MAIN, A, B, 1.0)]

    def test_packing_is_no_move(self) -> None:
        seen = [Seen(MAIN, None, A, 1.0), Seen(MAIN, A, None, 1.0)]
        assert follow(state({MAIN: A}), seen, state({MAIN: A})) == []

    def test_deleting_is_one_move(self) -> None:
        seen = [Seen(MAIN, None, None, 1.0), Seen(MAIN, None, None, 1.0)]
        assert follow(state({MAIN: A}), seen, state({})) == [Moved(MAIN, A, None, 1.0)]

    def test_a_rename_that_git_does_not_tell(self) -> None:
        seen = [Seen(MAIN, A, None, 1.0), Seen("HEAD", A, None, 1.0)]
        known = state({MAIN: A, "HEAD": A}, HEAD=MAIN)
        now = state({"refs/heads/trunk": A, "HEAD": A}, HEAD="refs/heads/trunk")
        assert follow(known, seen, now) == [
            Moved(MAIN, A, None, 1.0), Moved("refs/heads/trunk", None, A),
        ]  # fmt: skip

    def test_head_goes_along_with_its_branch(self) -> None:
        known = state({MAIN: A, "HEAD": A}, HEAD=MAIN)
        seen = [Seen("HEAD", A, B, 1.0, "", "t 1"), Seen(MAIN, A, B, 1.0, "", "t 1")]
        now = state({MAIN: B, "HEAD": B}, HEAD=MAIN)
        assert follow(known, seen, now) == [Moved(MAIN, A, B, 1.0)]
        assert follow(known, [], now) == [Moved(MAIN, A, B)]

    def test_head_by_itself(self) -> None:
        known = state({MAIN: A, "HEAD": A}, HEAD=MAIN)
        seen = [Seen("HEAD", None, B, 1.0, "", "t 1"), Seen("HEAD", A, B, 1.1, "", "c 2")]
        assert follow(known, seen, state({MAIN: A, "HEAD": B})) == [Moved("HEAD", A, B, 1.0)]
        assert follow(known, [], state({MAIN: A, "HEAD": B})) == [Moved("HEAD", A, B)]

    def test_lines_in_another_order_than_the_moves(self) -> None:
        seen = [Seen(MAIN, B, C, 1.0), Seen(MAIN, A, B, 1.1), Seen(MAIN, A, B, 1.2)]
        found = follow(state({MAIN: A}), seen, state({MAIN: C}))
        assert sorted((m.old, m.new) for m in found) == [(A, B), (B, C)]

    def test_what_came_late_is_known(self) -> None:
        seen = [Seen(MAIN, A, B, 1.0), Seen(MAIN, B, C, 1.0)]
        assert follow(state({MAIN: C}), seen, state({MAIN: C})) == []

    def test_a_gap_is_a_move_too(self) -> None:
        found = follow(state({MAIN: A}), [Seen(MAIN, B, C, 1.0)], state({MAIN: C}))
        assert [(m.old, m.new) for m in found] == [(A, B), (B, C)]


@dataclass
class Model:
    """Refs that move as they are told to, and the lines that git would have its hooks print."""

    refs: dict[str, str] = field(default_factory=lambda: {"refs/heads/a": A, "refs/heads/b": B})
    lines: str = ""
    moves: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    pid: int = 0

    def step(self, how: str, ref: str, new: str) -> None:
        old, self.pid = self.refs.get(ref), self.pid + 1
        told = old or ZERO
        if how == "pack":
            if old:
                self._tell("reference-transaction", ZERO, old, ref)
                self._tell("reference-transaction", old, ZERO, ref)
            return
        if how == "delete":
            if old:
                self._tell("reference-transaction", ZERO, ZERO, ref)
                self._tell("reference-transaction", ZERO, ZERO, ref)
                self.moves.append((ref, self.refs.pop(ref), None))
            return
        if old == new:
            return
        self.refs[ref] = new
        self.moves.append((ref, old, new))
        if how == "untold":
            return
        self._tell("reference-transaction", ZERO if how == "force" else told, new, ref)
        if how == "push":
            self._tell("post-receive", told, new, ref)

    def _tell(self, hook: str, old: str, new: str, ref: str) -> None:
        self.lines += line(hook, old, new, ref, pid=self.pid)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["commit", "push", "force", "pack", "delete", "untold"]),
        st.sampled_from(["refs/heads/a", "refs/heads/b", "refs/tags/t"]),
        st.sampled_from([A, B, C, D]),
    ),
    max_size=12,
)


def chained(found: list[Moved], before: dict[str, str], after: dict[str, str]) -> None:
    """Of each ref the moves lead from where it was to where it is."""
    at: dict[str, str | None] = dict(before)
    for move in found:
        assert at.get(move.ref) == move.old != move.new
        at[move.ref] = move.new
    assert {ref: oid for ref, oid in at.items() if oid} == after


class TestAnyHistory:
    @given(STEPS)
    def test_moves_lead_from_what_was_to_what_is(self, steps: list[tuple[str, str, str]]) -> None:
        model = Model()
        before = dict(model.refs)
        for step in steps:
            model.step(*step)
        found = follow(state(before), parse(model.lines.encode()), state(model.refs))
        chained(found, before, model.refs)

    @given(STEPS)
    def test_each_move_that_is_told_is_one(self, steps: list[tuple[str, str, str]]) -> None:
        model = Model()
        before = dict(model.refs)
        for how, ref, new in steps:
            if how not in ("untold", "delete"):
                model.step(how, ref, new)
        found = follow(state(before), parse(model.lines.encode()), state(model.refs))
        assert [(m.ref, m.old, m.new) for m in found] == model.moves

    @given(STEPS, STEPS)
    def test_in_two_goes_as_in_one(
        self, first: list[tuple[str, str, str]], then: list[tuple[str, str, str]]
    ) -> None:
        model = Model()
        known = dict(model.refs)
        for part in (first, then):
            model.lines = ""
            for step in part:
                model.step(*step)
            found = follow(state(known), parse(model.lines.encode()), state(model.refs))
            chained(found, known, model.refs)
            known = dict(model.refs)
