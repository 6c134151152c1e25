"""Which files are parsed: what Airflow's own ``list_py_file_paths`` lists, and nothing else."""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from gitdags.git import Repository
from gitdags.serialize.discovery import Discovery, Found, Layout
from tests.conftest import Repo
from tests.serialize.conftest import run_in

SOURCE = b"from airflow.sdk import DAG\nwith DAG('d'): ...\n"
LIST = """
import json, sys, os
from airflow.utils.file import list_py_file_paths
found = {}
for folder in json.load(sys.stdin):
    try:
        paths = list_py_file_paths(folder, safe_mode=True)
        found[folder] = sorted(os.path.relpath(p, folder) for p in paths)
    except Exception as error:
        found[folder] = [repr(error)]
print(json.dumps(found))
"""


def archive() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr(zipfile.ZipInfo("d.py"), SOURCE)
    return data.getvalue()


class Link(str):
    """The target of a link."""


Tree = Mapping[str, "bytes | str | Link"]


def write(folder: Path, tree: Tree) -> None:
    for name, content in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            path.symlink_to(content)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)


def find(opened: Repository, folder: str, syntax: str, era: int = 3, safe: bool = True) -> Found:
    tree = opened.commit(str(opened.ref("HEAD"))).tree
    return Discovery(opened, Layout(folder, syntax, safe, era)).find(tree)


def listed(found: Found, folder: str) -> list[str]:
    """Files and archives as Airflow lists them: one list, relative to the folder."""
    paths = [*(file.path for file in found.files), *found.archives]
    return sorted(os.path.relpath(os.fsdecode(path), folder) for path in paths)


def files_of(repo: Repo, tree: Tree, **options: str | int | bool) -> list[str]:
    """What is found in one tree of DAG files, archives left out."""
    write(repo.path / "dags", tree)
    repo.commit()
    found = find(Repository(repo.path), "dags", **{"syntax": "glob", **options})  # type: ignore[arg-type]
    return [os.path.relpath(os.fsdecode(file.path), "dags") for file in found.files]


# ── the same as Airflow ───────────────────────────────────────────────────────────────────────

FOLDERS = ["", "a/", "b/", "a/b/", "a/c/", "b/a/", "a/b/c/", "helpers/", "a/helpers/", "x.py/"]
NAMES = ["dag.py", "a.py", "b.py", "test_x.py", "x y.py", "ü.py", "notes.txt", "a", "dag.pyc"]
GLOB = [
    "a", "a/", "/a", "/a/", "a/b", "a/b/", "/a/b", "*.py", "!*.py", "**", "a/*",
    "a/**", "**/a.py", "**/b/", "a/**/c", "!a/", "!a/b/", "!dag.py", "!/a/dag.py", "test_*",
    "[ab].py", "[!a].py", "?.py", "helpers", "!helpers/", "# all", "a.py # why", "  ", "/",
    "x y.py", "x\\ y.py", "ü.py", "\\!odd", "*", "!*", "b/a", "a//b", "x.py", "[",
    "a.py  ", "/*", "!/a", "/*.py", "b/*.py", "!b/a.py",
]  # fmt: skip
REGEXP = [
    "a", "^a", "a/", "^a/b", r"\.py$", "test_.*", "a/.*/c", "[ab]\\.py", "(a|b)/dag", "helpers",
    "# all", "dag # why", "(", "*.py", "^dag\\.py$", "b$", "ü", "x y", "A(?i)", "x\\.py/",
    "", "  ", "[", "c/", "^b/a", "\\bdag\\b", "^.$", "a{2,1}", "\\", "^$",
]  # fmt: skip
CONTENTS = [SOURCE] * 6 + [
    b"import AirFlow; @DAG",
    b"airflow asset",
    b"airflow only",
    b"a dag, no more",
    b"",
    b"\xff airflow dag",
]


def generated(number: int, syntax: str) -> dict[str, bytes | str | Link]:
    """A folder of DAG files with ignore files, the same one for each number."""
    chance = random.Random(f"{syntax} {number}")
    tree: dict[str, bytes | str | Link] = {}
    for folder in chance.sample(FOLDERS, chance.randint(2, len(FOLDERS))):
        for name in chance.sample(NAMES, chance.randint(1, 5)):
            if not any(f"{folder}{name}/" == f or name == "a" for f in FOLDERS):
                tree[folder + name] = chance.choice(CONTENTS)
    patterns = GLOB if syntax == "glob" else REGEXP
    wanted = ["", *{path.rpartition("/")[0] + "/" for path in tree if "/" in path}]
    for folder in chance.sample(sorted(wanted), min(len(wanted), chance.choice([1, 1, 2, 3]))):
        lines = chance.choices(patterns, k=chance.randint(1, 4))
        tree[f"{folder}.airflowignore"] = "\n".join(lines) + chance.choice(["", "\n"])
    return tree


BY_HAND: dict[str, Tree] = {
    "safe-mode": {
        "both.py": "AIRFLOW and a DAG", "airflow.py": "import airflow", "dag.py": "dag",
        "asset.py": "airflow asset", "none.py": "x = 1", "empty.py": "", "comment.py": "#airflow dag",
    },
    "suffixes": {
        "a.py": SOURCE, "a.pyw": SOURCE, "a.txt": SOURCE, "py": SOURCE, "a.py.bak": SOURCE,
        "a.pyi": SOURCE, ".hidden.py": SOURCE, "__init__.py": SOURCE, "sub.py/in.py": SOURCE,
        ".dir/x.py": SOURCE, "__pycache__/y.py": SOURCE,
    },
    "upper-case": {"A.PY": SOURCE, "B.Py": SOURCE, "c.py": SOURCE},
    "only-a-suffix": {".py": SOURCE, "sub/.py": SOURCE, "c.py": SOURCE},
    "links": {
        "real/a.py": SOURCE, "to_file.py": Link("real/a.py"), "to_text.py": Link("../outside.txt"),
        "not_python": Link("real/a.py"), "to_folder": Link("../outside"), "dead.py": Link("gone"),
    },
    "ignored-links": {
        "real/a.py": SOURCE, "to_file.py": Link("real/a.py"), "to_folder": Link("../outside"),
        ".airflowignore": "to_f.*\nto_f*",
    },
    "linked-ignore": {".airflowignore": Link("../outside/.hidden"), "x.py": SOURCE, "y.py": SOURCE},
    "carriage-returns": {".airflowignore": "x\\.py\r\nx.py\r\n", "x.py": SOURCE, "y.py": SOURCE},
    "ignore-folder": {".airflowignore/x.py": SOURCE, "y.py": SOURCE},
    "zip": {"real.zip": archive(), "a.py": SOURCE, "sub/other.zip": archive()},
    "ignored-zip": {"real.zip": archive(), ".airflowignore": "real", "a.py": SOURCE},
    "no-zip": {"text.zip": "no archive", "a.py": SOURCE},
    "nothing": {"README.md": "airflow dag"},
    "last-wins": {".airflowignore": "x.py\n!x.py\nx.py", "x.py": SOURCE, "y.py": SOURCE},
    "look-ahead": {".airflowignore": "^(?!x)", "x.py": SOURCE, "y.py": SOURCE},
    "any-folder": {".airflowignore": "**/", "f/x.py": SOURCE, "y.py": SOURCE},
    "each-folder": {".airflowignore": "*/", "f/x.py": SOURCE, "y.py": SOURCE},
    "all-but": {".airflowignore": "*\n!keep/\n!keep/x.py", "keep/x.py": SOURCE, "y.py": SOURCE},
    "all-inside-but": {".airflowignore": "f/**\n!f/x.py", "f/x.py": SOURCE, "f/y.py": SOURCE},
    "nested-anchors": {
        "f/.airflowignore": "/x.py\ng/y.py", "x.py": SOURCE, "f/x.py": SOURCE, "f/g/x.py": SOURCE,
        "f/g/y.py": SOURCE, "f/h/g/y.py": SOURCE, "g/y.py": SOURCE,
    },
}  # fmt: skip
OUTSIDE: Tree = {
    "outside/o.py": SOURCE, "outside/deep/p.py": SOURCE, "outside.txt": SOURCE,
    "outside/.hidden": "x.py",
}  # fmt: skip
MANY = 120


@pytest.fixture(scope="module")
def generated_repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """One repository; each case is a folder of its own that holds a folder of DAG files."""
    repo = Repo(tmp_path_factory.mktemp("discovery") / "repo")
    for syntax in ("glob", "regexp"):
        for number in range(MANY):
            write(repo.path / f"{syntax}-{number}" / "dags", generated(number, syntax))
    for name, tree in BY_HAND.items():
        write(repo.path / name / "dags", tree)
        write(repo.path / name, OUTSIDE)
    repo.commit()
    return repo


@pytest.fixture(scope="module")
def airflow_lists(
    generated_repo: Repo, airflow_python: str, request: pytest.FixtureRequest
) -> dict[tuple[int, str], dict[str, list[str]]]:
    """(era, syntax) -> case -> what that Airflow lists; an era whose interpreter lacks is absent."""
    pythons = {3: airflow_python}
    if os.environ.get("GITDAGS_TEST_PYTHON_2"):
        pythons[2] = request.getfixturevalue("airflow_2_python")
    found = {}
    for era, python in pythons.items():
        for syntax in ("glob", "regexp"):
            cases = [*(f"{syntax}-{n}" for n in range(MANY)), *BY_HAND]
            folders = [str(generated_repo.path / case / "dags") for case in cases]
            answer = run_in(
                python,
                LIST,
                folders,
                generated_repo.path.parent,
                AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX=syntax,
            )
            found[era, syntax] = {
                case: answer[folder] for case, folder in zip(cases, folders, strict=True)
            }
    return found


Lists = dict[tuple[int, str], dict[str, list[str]]]


def wanted(lists: Lists, era: int, syntax: str) -> dict[str, list[str]]:
    if (era, syntax) not in lists:
        pytest.skip("no Airflow 2.11: GITDAGS_TEST_PYTHON_2 is not set")
    return lists[era, syntax]


@pytest.mark.airflow
@pytest.mark.parametrize("syntax", ["glob", "regexp"])
@pytest.mark.parametrize("era", [3, 2])
def test_generated_folders(
    generated_repo: Repo, airflow_lists: Lists, syntax: str, era: int
) -> None:
    opened = Repository(generated_repo.path)
    expected = wanted(airflow_lists, era, syntax)
    different = {}
    some = 0
    for number in range(MANY):
        case = f"{syntax}-{number}"
        found = listed(find(opened, f"{case}/dags", syntax, era), f"{case}/dags")
        some += 0 < len(found) < len(listed(find(opened, f"{case}/dags", "regexp", 3, False), "."))
        if found != expected[case]:
            files = generated(number, syntax)
            ignores = {path: text for path, text in files.items() if path.endswith("ignore")}
            different[case] = (found, expected[case], ignores)
    assert different == {}
    assert some > MANY // 3  # the folders test something: neither all nor nothing is left out


@pytest.mark.airflow
@pytest.mark.parametrize("case", BY_HAND)
@pytest.mark.parametrize("syntax", ["glob", "regexp"])
@pytest.mark.parametrize("era", [3, 2])
def test_folders_made_by_hand(
    generated_repo: Repo, airflow_lists: Lists, case: str, syntax: str, era: int
) -> None:
    expected = wanted(airflow_lists, era, syntax)[case]
    found = find(Repository(generated_repo.path), f"{case}/dags", syntax, era)
    assert listed(found, f"{case}/dags") == expected


@pytest.mark.airflow
def test_names_that_are_not_utf_8(repo: Repo, airflow_python: str) -> None:
    dags = os.fsencode(repo.path / "dags")
    os.makedirs(dags + b"/\xfefolder")
    for name in (b"\xff.py", b"\xfefolder/a.py", b"ignored\xff.py", b"a\nb.py"):
        Path(os.fsdecode(dags + b"/" + name)).write_bytes(SOURCE)
    (repo.path / "dags/.airflowignore").write_text("ignored*\n")
    repo.commit()
    folder = str(repo.path / "dags")
    expected = run_in(airflow_python, LIST, [folder], repo.path.parent)[folder]
    found = find(Repository(repo.path), "dags", "glob")
    assert listed(found, "dags") == sorted(expected)
    assert [file.path for file in found.files] == [
        b"dags/a\nb.py", b"dags/\xfefolder/a.py", b"dags/\xff.py",
    ]  # fmt: skip


# ── where Airflow gives up ────────────────────────────────────────────────────────────────────


def test_folders_inside_themselves_end(repo: Repo) -> None:
    tree = {"a/x.py": SOURCE, "a/up": Link(".."), "a/me": Link("."), "b": Link("a"), "c": Link("c")}
    assert files_of(repo, tree) == ["a/x.py", "b/x.py"]


def test_links_out_of_the_tree_are_not_followed(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_bytes(SOURCE)
    tree = {
        "abs.py": Link(str(tmp_path / "secret.py")),
        "up.py": Link("../../secret.py"),
        "abs": Link(str(tmp_path)),
        "fine.py": SOURCE,
    }
    assert files_of(repo, tree) == ["fine.py"]


@pytest.mark.parametrize(
    "pattern", ["^(a+)+$", "(a|a)*$", "(.*)*x$", "(a|aa)+$", "(?:a?){40}a{40}b"]
)
def test_a_catastrophic_pattern_hides_nothing_and_hangs_nothing(repo: Repo, pattern: str) -> None:
    name = "a" * 60 + ".py"
    tree = {name: SOURCE, ".airflowignore": f"{pattern}\nother"}
    assert files_of(repo, {**tree, "other.py": SOURCE}, syntax="regexp") == [name]


def test_a_catastrophic_glob_ends(repo: Repo) -> None:
    name = "a" * 100 + ".py"
    tree = {name: SOURCE, ".airflowignore": "*a" * 40 + "b\nother.py", "other.py": SOURCE}
    assert files_of(repo, tree) == [name]


def test_an_ignore_file_that_is_no_text(repo: Repo) -> None:
    tree = {"a.py": SOURCE, "b.py": SOURCE, ".airflowignore": b"\xff\xfe\0\nb.py\n"}
    assert files_of(repo, tree) == ["a.py"]


# ── the rest ──────────────────────────────────────────────────────────────────────────────────


def test_without_safe_mode_every_python_file_counts(repo: Repo) -> None:
    assert files_of(repo, {"a.py": "", "b.py": "x = 1", "c.txt": ""}, safe=False) == [
        "a.py",
        "b.py",
    ]


def test_modules_of_airflow_that_a_file_imports(repo: Repo) -> None:
    source = (
        "import os, airflow\nimport airflow.models as m\nfrom airflow.sdk import DAG\n"
        "def f():\n    from airflow.utils.state import State\n# from airflow.not_this import x\n"
        "from airflowish.x import y\nfrom airflow.sdk import dag\n"
    )
    write(repo.path / "dags", {"a.py": source, "b.py": source.replace("dag", "dog")})
    repo.commit()
    found = find(Repository(repo.path), "dags", "glob")
    modules = [
        (f.path, tuple(sorted({i.partition(":")[0] for i in f.imports}))) for f in found.files
    ]
    assert modules == [
        (f"dags/{name}.py".encode(), ("airflow.models", "airflow.sdk", "airflow.utils.state"))
        for name in ("a", "b")
    ]
    assert found.files[0].blob == repo("rev-parse", "HEAD:dags/a.py")


@pytest.mark.parametrize("folder", ["", "dags", "deep/er/dags"])
def test_wherever_the_folder_lies(repo: Repo, folder: str) -> None:
    write(repo.path / folder, {"a.py": SOURCE, "f/b.py": SOURCE, "f/.airflowignore": "/c.py"})
    write(repo.path / folder, {"f/c.py": SOURCE})
    repo.commit()
    found = find(Repository(repo.path), folder, "glob")
    assert listed(found, folder or ".") == ["a.py", "f/b.py"]
    assert find(Repository(repo.path), f"{folder}/absent".strip("/"), "glob") == Found((), ())
    assert find(Repository(repo.path), f"{folder}/a.py".strip("/"), "glob") == Found((), ())


def test_a_folder_that_is_a_link(repo: Repo) -> None:
    write(repo.path, {"real/a.py": SOURCE, "dags": Link("real")})
    repo.commit()
    found = find(Repository(repo.path), "dags", "glob")
    assert [file.path for file in found.files] == [b"dags/a.py"]


def test_one_discovery_serves_many_commits(repo: Repo) -> None:
    one = repo.commit({"dags/a.py": SOURCE, "dags/b.py": "x = 1"})
    two = repo.commit({"dags/a.py": "x = 1", "dags/b.py": SOURCE})
    opened = Repository(repo.path)
    discovery = Discovery(opened, Layout())
    found = [
        [f.path for f in discovery.find(opened.commit(sha).tree).files] for sha in (one, two, one)
    ]
    assert found == [[b"dags/a.py"], [b"dags/b.py"], [b"dags/a.py"]]
    assert json.dumps([f.blob for f in discovery.find(opened.commit(one).tree).files])
