"""What renders without a repository: text, colours, highlighting, comparing, Markdown, graphs, drawings."""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitdags import diff
from gitdags.web import changes, colour, drawing, graph, highlight, markdown, text
from gitdags.web.cache import Cache
from gitdags.web.renderer import CannotRender, Renderer
from gitdags.web.urls import Urls, query

SCRIPT = "<script>alert('x')</script>"


def plain(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    made = Renderer()
    yield made
    made.close()


class TestText:
    def test_what_would_hide_is_shown(self) -> None:
        assert text.visible("a\u202eb\x00c\ufeff\udce9\t\n") == "a\\u202eb\\x00c\\ufeff\\xe9\t\n"

    @given(st.text(), st.floats(20, 300))
    def test_it_fits(self, words: str, room: float) -> None:
        assert text.width(text.fitted(words, 13, room), 13) <= max(
            room, text.width("…" + words[:1], 13) + 20
        )

    @given(st.text())
    def test_escaped_is_only_text(self, words: str) -> None:
        assert not set("<>\"'") & set(text.escaped(words))


class TestColours:
    @given(st.one_of(st.text(), st.from_regex(r"#[0-9a-fA-F]{6}", fullmatch=True)), st.text())
    def test_always_legible_and_always_colours(self, fill: str, ink: str) -> None:
        pair = colour.pair(fill, ink)
        assert all(re.fullmatch("#[0-9a-f]{6}", part) for part in pair)
        assert colour.contrast(*pair) >= 4.5

    def test_airflows_own(self) -> None:
        assert colour.pair("#f0ede4", "#000")[0] == "#f0ede4"
        assert colour.pair("CornflowerBlue", "#000")[0] == "#6495ed"
        assert colour.pair("red;x:url(//e)", "expression(1)") == (colour.PLAIN, colour.DARK)


NAMES = st.sampled_from(["x.py", "x.sql", "x.yaml", "x.md", "x.json", "x.txt"])
LINES = st.lists(st.sampled_from("abcdef"), max_size=30)


class TestHighlight:
    @settings(max_examples=60, deadline=None)
    @given(
        st.text(st.characters(codec="utf-8", exclude_characters="\r")),
        NAMES,
    )
    def test_the_text_stays_what_it_is(self, words: str, name: str) -> None:
        lines = highlight.lines(name, words)
        assert [plain(line) for line in lines] == [
            text.visible(ln) for ln in highlight.split(words)
        ]

    def test_lines_of_a_string_are_coloured_each(self) -> None:
        lines = highlight.lines("x.py", '"""a\nb"""\n')
        assert all(line.startswith("<span class=") for line in lines)

    def test_marks_run_through_tokens(self) -> None:
        parts = highlight.segments("x.py", "return value")[0]
        assert plain(highlight.markup(parts, [(4, 9)])) == "return value"
        assert (
            "".join(
                re.findall(
                    r"<mark>(.*?)</mark>",
                    re.sub("</?span[^>]*>", "", highlight.markup(parts, [(4, 9)])),
                )
            )
            == "rn va"
        )


class TestChanges:
    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.sampled_from("abcdef"), max_size=30),
        st.lists(st.sampled_from("abcdef"), max_size=30),
    )
    def test_both_sides_are_told_whole(self, old: list[str], new: list[str]) -> None:
        found = changes.compare("x.txt", "\n".join(old), "\n".join(new))
        rows = [row for hunk in found["hunks"] for row in hunk]
        for at, number, lines in ((1, 0, old), (3, 1, new)):
            told = {row[at]: plain(row[at + 1]) for row in rows if row[at] is not None}
            split = highlight.split("\n".join(lines))
            assert all(split[n - 1] == words for n, words in told.items()), number
        gone = sum(1 for r in rows if r[0] in "-~" and r[1] is not None)
        come = sum(1 for r in rows if r[0] in "+~" and r[3] is not None)
        assert (gone, come) == (found["removed"], found["added"])
        same = highlight.split("\n".join(old)) == highlight.split("\n".join(new))
        assert same == (found["hunks"] == [])

    def test_changed_words(self) -> None:
        gone, come = changes.words("x = load(1)", "x = store(1)")
        assert [("x = load(1)"[a:b]) for a, b in gone] == ["load"]
        assert [("x = store(1)"[a:b]) for a, b in come] == ["store"]
        assert changes.words("abc", "xyz uvw") == ([], [])

    def test_far_apart_changes_are_hunks(self) -> None:
        old = [str(n) for n in range(100)]
        new = [*old[:10], "x", *old[11:90], "y", *old[91:]]
        assert len(changes.compare("x.txt", "\n".join(old), "\n".join(new))["hunks"]) == 2


class TestMarkdown:
    @pytest.mark.parametrize(
        "words",
        [SCRIPT, "[x](javascript:alert(1))", "![x](http://e.org/x.png)", "<img src=x onerror=alert(1)>",
         "[x](data:text/html,1)", "<style>*{}</style>", "<a href='vbscript:x'>x</a>",
         "[a]: javascript:x\n[a]"],
    )  # fmt: skip
    def test_nothing_runs(self, words: str) -> None:
        found = str(markdown.rendered(words))
        tags = re.findall(r"<[^>]*>", found)
        assert not [t for t in tags if re.match(r"<(script|img|style|iframe)|.*\son\w+=", t)]
        assert not re.search(r'href="?(javascript|data|vbscript)', "".join(tags))

    def test_headings_links_and_indented_docstrings(self) -> None:
        found = str(
            markdown.rendered("\n    # Title\n\n    See [docs](https://e.org) and `code`.\n")
        )
        assert "<h3>Title</h3>" in found
        assert 'rel="noopener noreferrer nofollow"' in found
        assert "<pre>" not in found
        assert markdown.rendered("  ") is None
        assert markdown.rendered(7) is None


def a_document(
    edges: list[tuple[str, str]], groups: dict[str, str | None], inside: dict[str, str]
) -> dict[str, Any]:
    names = sorted({n for edge in edges for n in edge} | set(inside))
    return {
        "dag_id": SCRIPT, "edges": [[a, b, SCRIPT] for a, b in edges],
        "groups": [{"group_id": g, "parent": p, "label": g} for g, p in groups.items()],
        "tasks": [{"task_id": n, "operator": "BashOperator", "group": inside.get(n),
                   "trigger_rule": "all_success",
                   "ui_color": "#fff", "ui_fgcolor": "#000", "mapped": None, "attrs": {}} for n in names],
    }  # fmt: skip


class TestGraph:
    DOCUMENT = a_document(
        [("a", "g.b"), ("g.b", "g.h.c"), ("g.h.c", "d"), ("a", "d")],
        {"g": None, "g.h": "g"},
        {"g.b": "g", "g.h.c": "g.h"},
    )

    def test_folding(self) -> None:
        whole = graph.of(self.DOCUMENT)
        assert ([n.id for n in whole.nodes], len(whole.clusters)) == (["a", "d", "g.b", "g.h.c"], 2)
        folded = graph.of(self.DOCUMENT, fold=["g"])
        assert [(n.id, n.tasks) for n in folded.nodes] == [("a", 0), ("d", 0), ("g/", 2)]
        assert {(e.start, e.end) for e in folded.edges} == {("a", "g/"), ("g/", "d"), ("a", "d")}
        inner = graph.of(self.DOCUMENT, fold=["g.h"])
        assert next(n for n in inner.nodes if n.tasks).group == "g"
        assert graph.of(self.DOCUMENT, fold=["*"]).nodes == folded.nodes
        assert graph.of(self.DOCUMENT, fold=["nowhere"]).nodes == whole.nodes

    @pytest.mark.parametrize(
        ("way", "names"),
        [
            ("up", ["a", "g.b"]),
            ("down", ["d", "g.b", "g.h.c"]),
            ("both", ["a", "d", "g.b", "g.h.c"]),
        ],
    )
    def test_around_a_task(self, way: str, names: list[str]) -> None:
        found = graph.of(self.DOCUMENT, only="g.b", way=way)
        assert [n.id for n in found.nodes] == names
        assert found.hidden == 4 - len(names)

    def test_two_in_one(self) -> None:
        new = a_document([("a", "g.b"), ("a", "e")], {"g": None}, {"g.b": "g"})
        old = {**self.DOCUMENT, "schema": "x"}
        found = graph.union(old, new, diff.compare(old, new))
        assert {n.id: n.mark for n in found.nodes} == {
            "a": "",
            "d": "removed",
            "e": "added",
            "g.b": "",
            "g.h.c": "removed",
        }
        assert {(e.start, e.end): e.mark for e in found.edges}["a", "e"] == "added"
        assert {c.id: c.mark for c in found.clusters} == {"g": "", "g.h": "removed"}
        folded = graph.union(old, new, diff.compare(old, new), fold=["g"])
        assert next(n for n in folded.nodes if n.tasks).mark == "changed"
        only = graph.union(old, new, diff.compare(old, new), changed_only=True)
        assert "d" in {n.id for n in only.nodes}


class TestDrawing:
    def test_it_is_well_formed_and_escaped(self, renderer: Renderer) -> None:
        document = a_document(
            [(SCRIPT, "b & c"), ("b & c", "\u202eevil")], {SCRIPT: None}, {SCRIPT: SCRIPT}
        )
        shown = graph.of(document)
        svg = drawing.draw(
            renderer,
            shown,
            link=lambda n: f"?task={n.id}",
            fold=lambda g: f"?fold={g}",
            title=SCRIPT,
        )
        root = ElementTree.fromstring(svg)
        names = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert names <= {
            "svg",
            "defs",
            "marker",
            "path",
            "g",
            "rect",
            "text",
            "a",
            "title",
            "circle",
        }
        assert not [
            e for e in root.iter() if any(k == "style" or k.startswith("on") for k in e.attrib)
        ]
        assert "\u202e" not in svg
        assert len(root.findall(".//{*}a[@data-task]")) == 3

    def test_marks_have_signs(self, renderer: Renderer) -> None:
        old, new = a_document([("a", "b")], {}, {}), a_document([("a", "c")], {}, {})
        svg = drawing.draw(renderer, graph.union(old, new, diff.compare(old, new)))
        signs = [e.text for e in ElementTree.fromstring(svg).iter() if e.get("class") == "sign"]
        assert sorted(filter(None, signs)) == ["+", "\N{MINUS SIGN}"]

    def test_what_is_too_large_is_not_drawn(self, renderer: Renderer) -> None:
        tasks = a_document([("a", f"t{i}") for i in range(drawing.MOST_NODES + 1)], {}, {})
        assert drawing.draw(renderer, graph.of(tasks)) == ""

    def test_a_thousand_tasks(self, renderer: Renderer) -> None:
        fan = a_document([("hub", f"t{i:04d}") for i in range(999)], {}, {})
        svg = drawing.draw(renderer, graph.of(fan))
        assert svg.count('class="node"') == 1_000


class TestRenderer:
    def test_a_deadline_ends_it_and_it_begins_again(self) -> None:
        renderer = Renderer(deadline=0.05)
        try:
            big = [[f"t{i}", 100, 44, None] for i in range(3_000)]
            lines = [[f"t{i // 2}", f"t{i}", 0] for i in range(1, 3_000)]
            with pytest.raises(CannotRender, match="took too long"):
                renderer.call("layout", big, lines, [], False)
            renderer._deadline = 60
            assert renderer.call("highlight", "x.py", "a = 1\n")
            assert renderer.failures == 1
        finally:
            renderer.close()

    def test_a_failure_is_told_and_the_process_goes_on(self, renderer: Renderer) -> None:
        with pytest.raises(CannotRender, match="failed: ValueError"):
            renderer.call("layout", [["a", 9, 9, None]], [["a", "b", 0]], [], False)
        assert renderer.call("pieces", [["x.py", "1"]]) == [['<span class="mi">1</span>']]

    def test_large_messages_both_ways(self, renderer: Renderer) -> None:
        words = "x = 1\n" * 60_000
        assert len(renderer.call("highlight", "x.py", words)) == 60_000

    def test_threads_take_turns(self, renderer: Renderer) -> None:
        found: list[Any] = []
        threads = [
            threading.Thread(
                target=lambda n=n: found.append(
                    renderer.call("highlight", "x.txt", str(n)) == [str(n)]
                )
            )
            for n in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [True] * 20


class TestCache:
    @given(st.lists(st.tuples(st.integers(0, 20), st.binary(max_size=900))))
    def test_it_stays_within_its_bytes(self, puts: list[tuple[int, bytes]]) -> None:
        cache: Cache[bytes] = Cache(5_000)
        first: dict[int, bytes] = {}
        for key, value in puts:
            cache.put(key, value)
            kept = cache.get(key)
            assert kept in (None, value, first.get(key)) or kept is not None
            first.setdefault(key, value)
            assert cache.used <= 5_000

    def test_the_least_used_goes_first(self) -> None:
        cache: Cache[bytes] = Cache(3_300)  # four of them
        for key in "abcd":
            cache.put(key, b"x" * 400)
        cache.get("a")
        cache.put("e", b"x" * 400)
        assert [cache.get(k) is not None for k in "abcde"] == [True, False, True, True, True]


def test_addresses() -> None:
    urls = Urls("/x")
    assert urls.source("r", b"caf\xe9/a b.py", at="v1") == "/x/r/source/caf%E9/a%20b.py?at=v1"
    assert urls.compare("r", "a/b", None) == "/x/r/compare?from=a%2Fb"
    assert query(a=None, b="", c=["1", "2"]) == "?c=1&c=2"
