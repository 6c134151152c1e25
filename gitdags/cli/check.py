"""gitdags check: for CI. Each format reads well where it is shown."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from xml.etree import ElementTree

from gitdags import wire
from gitdags.check import check
from gitdags.cli import diff
from gitdags.cli.context import Context
from gitdags.cli.words import add_no_parse, add_revision, count
from gitdags.errors import shown
from gitdags.model import CheckReport, Finding

_TITLES = {
    "import": "does not import",
    "size": "document over the budget",
    "clash": "dag_id defined twice",
    "unstable": "two parses differ",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Its words."""
    add_revision(parser, "target", "a revision, or a range A..B; default: HEAD", nargs="?")
    parser.add_argument("--format", choices=tuple(_FORMATS), default="text", help="default: text")
    add_no_parse(parser)


def run(context: Context, args: argparse.Namespace) -> int:
    """Exit 1 where anything is objected to."""
    report = check(
        context.catalog, context.repository, args.target or "HEAD", parse=not args.no_parse
    )
    if context.json:
        comparison = report.comparison
        data = wire.plain(report) | {
            "comparison": wire.comparison(comparison) if comparison else None
        }
        context.write_json(data)
    else:
        context.write_text(_FORMATS[args.format](report))
    return 1 if report.findings else 0


def _verdict(report: CheckReport) -> str:
    scope = "" if report.base is None else f" changed since {report.base[:12]}"
    what = f"{count(report.dags, 'DAG')} in {count(report.files, 'file')}{scope}"
    if not report.findings:
        well = "all import" if report.engine == "airflow" else "recorded without Airflow, all"
        return f"{report.commit[:12]}: {what}: {well}, are stable and within the budget"
    return f"{report.commit[:12]}: {count(len(report.findings), 'objection')} ({what})"


def _text(report: CheckReport) -> str:
    lines = []
    for finding in report.findings:
        place = shown(finding.file, 500) + (f":{finding.line}" if finding.line else "")
        lines.append(f"{place}: {_TITLES[finding.kind]}: {shown(finding.message, 500)}")
    if report.comparison is not None:
        for indent, sign, text in diff.stat(report.comparison):
            lines.append(" " * indent + (f"{sign} " if sign else "  ") + shown(text, 2_000))
    return "\n".join([*lines, _verdict(report)]) + "\n"


def _github(report: CheckReport) -> str:
    """Workflow commands, which GitHub shows at the line they name."""
    lines = []
    for finding in report.findings:
        where = [f"file={_property(finding.file)}"]
        if finding.line is not None:
            where.append(f"line={finding.line}")
        where.append(f"title={_property('gitdags: ' + _TITLES[finding.kind])}")
        text = finding.message + (f"\n{finding.detail}" if finding.detail else "")
        lines.append(f"::error {','.join(where)}::{_data(text)}")
    return "\n".join([*lines, f"::notice title=gitdags::{_data(_verdict(report))}"]) + "\n"


def _data(text: str) -> str:
    clean = "\n".join(shown(line, 5_000) for line in text.split("\n"))
    return clean.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _markdown(report: CheckReport) -> str:
    """For a comment on a pull request, or a job's summary."""
    lines = [f"### {'❌' if report.findings else '✅'} gitdags check", "", _verdict(report), ""]
    if report.findings:
        lines += ["| file | objection |", "|---|---|"]
        for finding in report.findings:
            place = f"`{_cell(finding.file)}`" + (f":{finding.line}" if finding.line else "")
            lines.append(f"| {place} | **{_TITLES[finding.kind]}**: {_cell(finding.message)} |")
        lines.append("")
        for finding in report.findings:
            if finding.detail:
                lines += [
                    f"<details><summary>{_html(finding.file)}</summary>", "", "~~~text",
                    finding.detail.replace("~~~", "~ ~ ~"), "~~~", "", "</details>", "",
                ]  # fmt: skip
    if report.comparison is not None and report.comparison.differs:
        lines += [f"**{diff.summary(report.comparison)}**", "", "~~~diff"]
        for indent, sign, text in diff.lines(report.comparison):
            # A diff block colours by the first character of a line.
            first = sign if sign in ("+", "-") else "!" if sign in ("~", "!") else " "
            lines.append(f"{first} {' ' * indent}{text}".rstrip().replace("~~~", "~ ~ ~"))
        lines += ["~~~", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return _html(shown(text, 300)).replace("|", "\\|").replace("`", "'")


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _junit(report: CheckReport) -> str:
    """One test case a file with an objection, or one that passed for the whole commit."""
    suite = ElementTree.Element(
        "testsuite",
        name="gitdags check",
        tests=str(max(len(report.findings), 1)),
        failures=str(len(report.findings)),
        errors="0",
    )
    for finding in report.findings:
        case = _case(suite, finding)
        failure = ElementTree.SubElement(
            case, "failure", message=_xml(finding.message), type=finding.kind
        )
        failure.text = _xml(finding.detail or finding.message)
    if not report.findings:
        ElementTree.SubElement(
            suite, "testcase", classname=report.repo, name=_xml(_verdict(report))
        )
    ElementTree.indent(suite)
    text = ElementTree.tostring(suite, encoding="unicode")
    return f"<?xml version='1.0' encoding='utf-8'?>\n{text}\n"


def _case(suite: ElementTree.Element, finding: Finding) -> ElementTree.Element:
    name = f"{_TITLES[finding.kind]}" + (f" ({finding.dag_id})" if finding.dag_id else "")
    case = ElementTree.SubElement(
        suite, "testcase", classname=_xml(finding.file), name=_xml(name), file=_xml(finding.file)
    )
    if finding.line is not None:
        case.set("line", str(finding.line))
    return case


def _xml(text: str) -> str:
    """Text without the characters that XML 1.0 has no form for."""
    return "".join(c if c in "\t\n" or c.isprintable() else "�" for c in text)


_FORMATS: dict[str, Callable[[CheckReport], str]] = {
    "text": _text,
    "github": _github,
    "markdown": _markdown,
    "junit": _junit,
}
