"""Markdown that a DAG carries, as markup that can do nothing: no HTML of its own, no pictures, no scripts."""

from __future__ import annotations

from functools import cache
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

from gitdags.web.text import visible

MOST = 50_000
"""Characters that are read."""
_TAGS = {"p", "h3", "h4", "h5", "h6", "ul", "ol", "li", "strong", "em", "code", "pre", "blockquote",
         "a", "hr", "br", "table", "thead", "tbody", "tr", "th", "td", "del"}  # fmt: skip


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable(
        ["table", "strikethrough"]
    )


def rendered(text: Any) -> Markup | None:
    """The markup of a doc_md; None where there is none."""
    if not isinstance(text, str) or not text.strip():
        return None
    # DAG files indent their docstrings; Markdown would take that for code.
    lines = visible(text[:MOST]).expandtabs().split("\n")
    margins = [len(ln) - len(ln.lstrip()) for ln in lines[1:] if ln.strip()]
    margin = min(margins, default=0)
    plain = "\n".join([lines[0].lstrip(), *(ln[margin:] for ln in lines[1:])])
    html = _parser().render(plain)
    for deep, shallow in ((1, 3), (2, 4)):  # the page's own headings are above them
        html = html.replace(f"<h{deep}>", f"<h{shallow}>").replace(f"</h{deep}>", f"</h{shallow}>")
    clean = nh3.clean(
        html,
        tags=_TAGS,
        attributes={"a": {"href", "title"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
    return Markup(clean)  # noqa: S704 - that is what the sanitiser is for
