"""Rules that map commits to interpreters, and what becomes of them when commits are parsed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from gitdags import git
from gitdags.catalog import Catalog
from gitdags.config import Settings
from gitdags.environments import BadRules, Rules, load
from gitdags.serialize import builds
from tests.conftest import Repo, Run, dag
from tests.wheels import VERSION

PYTHON = "/opt/python/bin/python"
CONSTRAINTS = Path(__file__).parents[1] / "scripts" / "constraints-airflow-2.11.txt"


def find_python(*versions: str) -> str:
    """The first of these versions of Python that is here."""
    return next(v for v in versions if builds._interpreter(v) != v)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "environments.toml"
    path.write_text(text)
    return path


class TestRules:
    def fitting(self, repo: Repo, tmp_path: Path, text: str, sha: str) -> list[str]:
        opened = git.Repository(repo.path)
        rules = Rules(opened, load(written(tmp_path, text), "repo"))
        return [found.rule.name for found in rules.fitting(opened.commit(sha))]

    def test_by_date(self, repo: Repo, tmp_path: Path) -> None:
        shas = [repo.commit(message=str(n)) for n in range(3)]  # the 1st, 2nd and 3rd of January
        text = f"""
            [[repo]]
            name = "old"
            python = "{PYTHON}"
            before = 2025-01-02
            [[repo]]
            name = "middle"
            python = "{PYTHON}"
            since = 2025-01-02
            before = 2025-01-03T12:00:00Z
        """
        found = [self.fitting(repo, tmp_path, text, sha) for sha in shas]
        assert found == [["old"], ["middle"], []]

    def test_by_ref(self, repo: Repo, tmp_path: Path) -> None:
        base = repo.commit()
        repo("checkout", "-q", "-b", "release/2.x")
        side = repo.commit()
        repo("checkout", "-q", "main")
        tip = repo.commit()
        text = f'[[repo]]\nname = "two"\npython = "{PYTHON}"\nrefs = ["release/2.x", "gone"]'
        found = [self.fitting(repo, tmp_path, text, sha) for sha in (base, side, tip)]
        assert found == [["two"], ["two"], []]

    def test_by_path(self, repo: Repo, tmp_path: Path) -> None:
        without, there = repo.commit({"a": "1"}), repo.commit({"airflow2/marker": ""})
        text = f'[["*"]]\nname = "two"\npython = "{PYTHON}"\npath = "airflow2"'
        assert self.fitting(repo, tmp_path, text, without) == []
        assert self.fitting(repo, tmp_path, text, there) == ["two"]

    @pytest.mark.parametrize(
        ("file", "content", "matches"),
        [
            ("requirements.txt", "boto3\napache-airflow[s3]==2.9.1\n",
             r"^apache-airflow(?:\[.*\])?==(?P<airflow>[\d.]+)"),
            ("Dockerfile", "ARG X=1\nFROM apache/airflow:2.9.1-python3.11\n",
             r"^FROM apache/airflow:(?P<airflow>[\d.]+)-python(?P<python>[\d.]+)"),
            ("constraints.txt", "apache-airflow==2.9.1\n", r"^apache-airflow==(?P<airflow>\S+)"),
        ],
    )  # fmt: skip
    def test_by_a_file_at_the_commit(
        self, repo: Repo, tmp_path: Path, file: str, content: str, matches: str
    ) -> None:
        sha, other = repo.commit({file: content}), repo.commit({file: "nothing of the kind"})
        python = "{python}" if "<python>" in matches else "3.11"
        path = written(
            tmp_path,
            f"[[repo]]\nname = 'era'\npython = '{python}'\nfile = '{file}'\n"
            f"matches = '''{matches}'''\npackages = ['apache-airflow=={{airflow}}', 'six']",
        )
        opened = git.Repository(repo.path)
        rules = Rules(opened, load(path, "repo"))
        (found,) = rules.fitting(opened.commit(sha))
        assert found.recipe is not None
        assert found.recipe.python == "3.11"
        assert found.recipe.requirements == ("apache-airflow==2.9.1", "six")
        assert rules.fitting(opened.commit(other)) == []

    def test_requirements_and_constraints_of_the_commit(self, repo: Repo, tmp_path: Path) -> None:
        first = repo.commit({"requirements.txt": "six\n", "constraints.txt": "six==1.16.0\n"})
        bad = repo.commit({"requirements.txt": "-e .\n"})
        gone = repo.commit({"requirements.txt": None})
        path = written(
            tmp_path,
            "[[repo]]\nname = 'asked'\npython = '3.12'\nrequirements = 'requirements.txt'\n"
            "constraints = 'constraints.txt'",
        )
        opened = git.Repository(repo.path)
        found = [
            Rules(opened, load(path, "repo")).fitting(opened.commit(sha))[0]
            for sha in (first, bad, gone)
        ]
        assert found[0].recipe is not None
        assert found[0].recipe.constraints == ("six==1.16.0",)
        assert "'-e .', names no package" in found[1].problem
        assert found[2].problem == f"there is no requirements.txt at {gone[:12]}"

    def test_a_pattern_that_would_never_end(self, repo: Repo, tmp_path: Path) -> None:
        sha = repo.commit({"f": "a" * 5000 + "!"})
        text = f"[[repo]]\nname = 'slow'\npython = '{PYTHON}'\nfile = 'f'\nmatches = '(a|aa)+$'"
        assert self.fitting(repo, tmp_path, text, sha) == []

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[[repo]\n", "environments.toml: "),
            ("repo = 1", "no list of tables"),
            ("[[repo]]\nname = 'a'", "it has no python"),
            ("[[repo]]\npython = '/x'", "it has no name"),
            ("[[repo]]\nname = '../a'\npython = '/x'", "is no name"),
            ("[[repo]]\nname = 'a'\npython = '3.12'", "packages or requirements must say"),
            ("[[repo]]\nname = 'a'\npython = '/x'\npackages = ['six']", "nothing to build"),
            ("[[repo]]\nname = 'a'\npython = '/x'\nfile = 'f'", "file and matches go together"),
            ("[[repo]]\nname = 'a'\npython = '/x'\nfile = 'f'\nmatches = '('", "rule 1: "),
            ("[[repo]]\nname = 'a'\npython = '3.12'\npackages = ['a=={b}']", "no group 'b'"),
            ("[[repo]]\nname = 'a'\npython = '/{b}'\nfile = 'f'\nmatches = '(?P<b>.*)'",
             "takes nothing from a commit"),
            ("[[repo]]\nname = 'a'\npython = '/x'\nsince = 'May'", "since is no date"),
            ("[[repo]]\nname = 'a'\npython = '/x'\nwhen = 'May'", "there is no 'when'"),
            ("[[repo]]\nname = 'a'\npython = '/x'\nrefs = 'main'", "refs is no list"),
            ("[[repo]]\nname = 'a'\npython = '/x'\n[['*']]\nname = 'a'\npython = '/y'",
             "two rules are named 'a'"),
        ],
    )  # fmt: skip
    def test_a_rule_without_sense_is_named(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(BadRules) as error:
            load(written(tmp_path, text), "repo")
        assert message in error.value.message
        assert error.value.hint.startswith("cat ")

    def test_no_file_no_rules(self, tmp_path: Path) -> None:
        assert load(tmp_path / "absent.toml", "repo") == ()
        path = written(tmp_path, f"[[other]]\nname = 'a'\npython = '{PYTHON}'")
        assert load(path, "repo") == ()


@pytest.mark.usefixtures("airflow_python")
class TestParsing:
    def catalog(self, tmp_path: Path, text: str, **flags: str) -> Catalog:
        path = written(tmp_path, text)
        given = {"home": str(tmp_path / "home"), "jobs": "1", "environments": str(path)}
        return Catalog(Settings({**given, **flags}, {}))

    def test_each_commit_by_its_own(self, repo: Repo, tmp_path: Path, airflow_python: str) -> None:
        """A second interpreter of the same Airflow, told apart by what it is called inside."""
        other = tmp_path / "other"
        other.mkdir()
        (other / "python").write_text(f'#!/bin/sh\nexec "{airflow_python}" "$@"\n')
        (other / "python").chmod(0o755)
        body = dag("a", body="import sys", arguments="schedule=None, description=sys.version[:4]")
        first = repo.commit({"dags/a.py": body})
        second = repo.commit({"dags/b.py": dag("b")})
        text = f"[[repo]]\nname = 'old'\npython = '{other / 'python'}'\nbefore = 2025-01-02"
        with self.catalog(tmp_path, text) as catalog:
            known = catalog.registry.add(str(repo.path), name="repo")
            parsers = catalog.history(known).parsers
            opened = catalog.opened(known)
            assert parsers.of(opened.commit(first), "airflow").python == str(other / "python")
            assert parsers.of(opened.commit(second), "airflow").python == os.path.abspath(
                sys.executable
            )

    def test_an_interpreter_that_is_gone_is_said_and_passed_over(
        self, repo: Repo, tmp_path: Path
    ) -> None:
        repo.commit({"dags/a.py": dag("a")})
        text = f"[[repo]]\nname = 'gone'\npython = '{tmp_path}/no/python'"
        with self.catalog(tmp_path, text) as catalog:
            known = catalog.registry.add(str(repo.path), name="repo")
            report = catalog.index(known)
            assert report.errors == 0
            (warning,) = report.warnings
            assert warning.startswith("environment gone: cannot run ")
            assert [row.dag_id for row in catalog.dags(known).dags] == ["a"]

    def test_an_environment_not_built_is_named_with_its_command(
        self, repo: Repo, tmp_path: Path
    ) -> None:
        repo.commit({"dags/a.py": dag("a")})
        text = "[[repo]]\nname = 'era'\npython = '3.12'\npackages = ['apache-airflow==2.9.1']"
        with self.catalog(tmp_path, text) as catalog:
            known = catalog.registry.add(str(repo.path), name="repo")
            assert catalog.index(known).warnings == (
                "environment era: the environment era is not built yet",
            )

    @pytest.mark.slow
    def test_a_commit_of_airflow_2_is_parsed_by_an_airflow_2_built_for_it(
        self, repo: Repo, tmp_path: Path
    ) -> None:
        """For real: uv, the package registry, wheels only, and the sandbox."""
        python = find_python("3.12", "3.11")
        source = (
            "import datetime\nfrom airflow import DAG, __version__\n"
            "from airflow.operators.bash import BashOperator\n"
            "start = datetime.datetime(2024, 1, 1)\n"
            "with DAG('old', start_date=start, schedule_interval='@daily', description=__version__):\n"
            "    BashOperator(task_id='one', bash_command='true')\n"
        )
        repo.commit(
            {
                "dags/old.py": source,
                "requirements.txt": "apache-airflow==2.11.0\n",
                "constraints.txt": CONSTRAINTS.read_text(),
            }
        )
        text = (
            f"[[repo]]\nname = 'asked'\npython = '{python}'\nrequirements = 'requirements.txt'\n"
            "constraints = 'constraints.txt'\n"
        )
        with self.catalog(tmp_path, text, build_environments="true") as catalog:
            known = catalog.registry.add(str(repo.path), name="repo")
            report = catalog.index(known)
            assert (report.warnings, report.errors, report.recorded) == ((), 0, 0)
            (row,) = catalog.dags(known).dags
            assert catalog.document(known, "old").document["description"] == "2.11.0"
            assert row.engine == "airflow"
            (built,) = catalog.history(known).parsers.builds.all()
            assert built.problem == ""

    def test_only_trusted_commits_have_one_built(
        self,
        repo: Repo,
        tmp_path: Path,
        index: Path,
    ) -> None:
        tip = repo.commit({"requirements.txt": "era-tool==1.0"})
        repo("checkout", "-q", "-b", "evil")
        evil = repo.commit({"requirements.txt": "era-tool"})
        text = f"[[repo]]\nname = 'asked'\npython = '{VERSION}'\nrequirements = 'requirements.txt'"
        with self.catalog(tmp_path, text, build_environments="true") as catalog:
            known = catalog.registry.add(str(repo.path), name="repo")
            parsers = catalog.history(known).parsers
            opened = catalog.opened(known)
            parsers.of(opened.commit(evil), "airflow")
            assert "no trusted ref reaches" in parsers.problems["asked"]
            assert parsers.builds.all() == []
            parsers.of(opened.commit(tip), "airflow")
            (built,) = parsers.builds.all()
            assert built.recipe.requirements == ("era-tool==1.0",)
            assert "has no Airflow" in parsers.problems["asked"]


@pytest.mark.usefixtures("airflow_python")
class TestSecrets:
    BODY = (
        "import os\nfrom airflow.sdk import Variable\n"
        "SAID = f\"{os.environ['PLAIN']} {os.environ['MY_TOKEN']} {Variable.get('API_KEY')}\""
    )

    def descriptions(self, repo: Repo, tmp_path: Path, **flags: str) -> dict[str, str]:
        env_file = tmp_path / "env"
        env_file.write_text("PLAIN=plain\nMY_TOKEN=s3cr3t\nAIRFLOW_VAR_API_KEY=s3cr3t\n")
        source = dag("a", body=self.BODY, arguments="schedule=None, description=SAID")
        shas = {"main": repo.commit({"dags/a.py": source})}
        repo("checkout", "-q", "-b", "evil")
        shas["evil"] = repo.commit({"dags/a.py": source, "x": "1"})
        with Catalog(
            Settings({"home": str(tmp_path / "home"), "jobs": "1", **flags}, {})
        ) as catalog:
            known = catalog.registry.add(str(repo.path), env_file=str(env_file))
            catalog.index(known, everything=True)
            return {
                name: catalog.document(known, "a", sha).document["description"]
                for name, sha in shas.items()
            }

    def test_the_row_lists_what_was_withheld_and_used(self, repo: Repo, tmp_path: Path) -> None:
        env_file = tmp_path / "env"
        env_file.write_text(
            "A_TOKEN=s\nB_TOKEN=s\nAIRFLOW_CONN_DB=postgres://me:s@host/db\nPLAIN=p\n"
        )
        body = "import os\nSAID = os.environ['B_TOKEN'] + os.environ['AIRFLOW_CONN_DB']"
        source = dag("a", body=body, arguments="schedule=None, description=SAID")
        repo.commit({"dags/a.py": source})
        with Catalog(Settings({"home": str(tmp_path / "home"), "jobs": "1"}, {})) as catalog:
            known = catalog.registry.add(str(repo.path), env_file=str(env_file))
            (row,) = catalog.dags(known).dags
        assert row.placeholders == ("secret AIRFLOW_CONN_DB", "secret B_TOKEN")

    def test_no_file_sees_one(self, repo: Repo, tmp_path: Path) -> None:
        said = "plain <secret MY_TOKEN> <secret AIRFLOW_VAR_API_KEY>"
        assert self.descriptions(repo, tmp_path) == {"main": said, "evil": said}

    def test_but_those_of_trusted_commits_where_settings_say_so(
        self, repo: Repo, tmp_path: Path
    ) -> None:
        assert self.descriptions(repo, tmp_path, secrets="trusted") == {
            "main": "plain s3cr3t s3cr3t",
            "evil": "plain <secret MY_TOKEN> <secret AIRFLOW_VAR_API_KEY>",
        }


@pytest.mark.usefixtures("airflow_python")
class TestCommand:
    @pytest.fixture
    def rules(self, repo: Repo, tmp_path: Path, gitdags: Run, index: Path) -> dict[str, str]:
        repo.commit({"dags/a.py": dag("a"), "requirements.txt": "era-tool==1.0\n"})
        assert gitdags("init", ".", "--name", "repo").returncode == 0
        path = written(
            tmp_path,
            f"[[repo]]\nname = 'later'\npython = '{sys.executable}'\nsince = 2030-01-01\n"
            f"[[repo]]\nname = 'asked'\npython = '{VERSION}'\nrequirements = 'requirements.txt'\n",
        )
        names = ("UV_OFFLINE", "UV_FIND_LINKS", "UV_CACHE_DIR")
        return {"GITDAGS_ENVIRONMENTS": str(path)} | {
            name: os.environ[name] for name in names if name in os.environ
        }

    def test_list_build_test_remove(
        self,
        index: Path,
        rules: dict[str, str],
        gitdags: Run,
    ) -> None:
        listed = json.loads(gitdags("--json", "environments", **rules).stdout)
        assert [(r["name"], r["state"]) for r in listed["rules"]] == [
            ("later", ""),
            ("asked", "not built"),
        ]
        assert listed["trusted"] is True
        built = gitdags("environments", "build", **rules)
        assert built.returncode == 0, built.stderr
        key = built.stdout.split()[0]
        shown = gitdags("environments", **rules).stdout
        assert key in shown
        assert "has no Airflow" in shown  # a tool alone is none; the commit's parser is another
        tested = gitdags("--json", "environments", "test", **rules)
        assert tested.returncode == 0, tested.stdout + tested.stderr
        assert json.loads(tested.stdout)["problem"] is None
        refused = gitdags("environments", "test", "asked", **rules)
        assert (refused.returncode, "has no Airflow" in refused.stderr) == (3, True)
        assert gitdags("environments", "remove", key, **rules).returncode == 0
        again = gitdags("environments", "remove", key, **rules)
        assert (again.returncode, "none was built" in again.stderr) == (2, True)

    def test_a_rule_that_does_not_fit(self, rules: dict[str, str], gitdags: Run) -> None:
        done = gitdags("environments", "build", "later", **rules)
        assert done.returncode == 2
        assert "no rule named 'later' fits" in done.stderr
