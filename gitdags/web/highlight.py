"""Source text as lines of markup, by Pygments: token classes and escaped text, nothing else. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from pygments import lex
from pygments.lexers import (
    BashLexer,
    DockerLexer,
    HtmlDjangoLexer,
    IniLexer,
    JsonLexer,
    MarkdownLexer,
    PythonLexer,
    SqlLexer,
    TOMLLexer,
    YamlLexer,
)
from pygments.token import STANDARD_TYPES, Token, _TokenType

from gitdags.web.text import escaped

Segment = tuple[str, str]
"""(class or '', text) of a token inside one line"""
Span = tuple[int, int]
"""characters of a line from, to"""

# What repositories of DAGs hold, and no more: each lexer is a set of expressions that anybody's
# text is put through.
_LEXERS = {
    "py": PythonLexer, "pyi": PythonLexer, "sql": SqlLexer, "yaml": YamlLexer, "yml": YamlLexer,
    "json": JsonLexer, "toml": TOMLLexer, "cfg": IniLexer, "ini": IniLexer, "sh": BashLexer,
    "bash": BashLexer, "md": MarkdownLexer, "dockerfile": DockerLexer, "html": HtmlDjangoLexer,
    "jinja": HtmlDjangoLexer, "j2": HtmlDjangoLexer,
}  # fmt: skip
MOST = 400_000
"""Characters past which text is shown without colours."""


def segments(name: str, text: str) -> list[list[Segment]]:
    """The tokens of each line; one plain token a line where the name tells no language."""
    lines = split(text)
    kind = name.rpartition("/")[2].lower().rpartition(".")[2]
    lexer = _LEXERS.get(kind)
    if lexer is None or len(text) > MOST:
        return [[("", line)] if line else [] for line in lines]
    found: list[list[Segment]] = [[]]
    for token, value in lex("\n".join(lines), lexer(stripnl=False, ensurenl=False)):
        name_of = _class_of(token)
        for i, part in enumerate(value.split("\n")):
            if i:
                found.append([])
            if part:
                found[-1].append((name_of, part))
    found += [[] for _ in range(len(lines) - len(found))]
    return found[: len(lines)]


def split(text: str) -> list[str]:
    """Lines as Git counts them: ended by a line feed; a carriage return before it goes unseen."""
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _class_of(token: _TokenType) -> str:
    while token not in STANDARD_TYPES and token is not Token:
        assert token.parent is not None
        token = token.parent
    return str(STANDARD_TYPES[token])


def markup(parts: Sequence[Segment], changed: Sequence[Span] = ()) -> str:
    """One line; what lies in ``changed`` is inside ``<mark>``."""
    out = []
    at = 0
    for kind, text in parts:
        for piece, inside in _cut(text, at, changed):
            body = escaped(piece)
            if kind:
                body = f'<span class="{kind}">{body}</span>'
            out.append(f"<mark>{body}</mark>" if inside else body)
        at += len(text)
    return "".join(out).replace("</mark><mark>", "")


def _cut(text: str, at: int, spans: Sequence[Span]) -> list[tuple[str, bool]]:
    edges = {0, len(text)}
    for begin, end in spans:
        edges |= {e - at for e in (begin, end) if 0 < e - at < len(text)}
    places = sorted(edges)
    return [
        (text[a:b], any(begin <= a + at < end for begin, end in spans))
        for a, b in itertools.pairwise(places)
    ]


def lines(name: str, text: str) -> list[str]:
    """The markup of each line of a file of that name."""
    return [markup(parts) for parts in segments(name, text)]


def pieces(items: Sequence[Sequence[str]]) -> list[list[str]]:
    """The same for several (name, text)."""
    return [lines(name, text) for name, text in items]
