"""In a real browser, on the real history: as a person would, by mouse, by keyboard, without a script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

from gitdags.catalog import Catalog
from tests.web.conftest import Server, World

pytestmark = pytest.mark.slow
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


def watched(context: BrowserContext) -> tuple[Page, list[str]]:
    """A page, and what its console complains of: a script's error, something the policy refused."""
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda message: (
            wrong.append(message.text)
            if message.type == "error" and "status of 4" not in message.text
            else None
        ),
    )
    page.set_default_timeout(20_000)
    return page, wrong


@pytest.fixture
def page(browser: Any) -> Iterator[Page]:
    context = browser.new_context(viewport=WIDE)
    page, wrong = watched(context)
    yield page
    assert wrong == []
    context.close()


def query(page: Page) -> str:
    return page.url.partition("?")[2]


class TestWalk:
    def test_pick_a_ref_as_one_types(self, page: Page, examples: Server) -> None:
        page.goto(f"{examples.url}/examples?at=3.3.2")
        picker = page.get_by_role("combobox", name="Revision")
        picker.fill("2.6")
        option = page.get_by_role("option", name=re.compile("2.6.3"))
        expect(option).to_be_visible()
        picker.press("ArrowDown")
        picker.press("Enter")
        page.wait_for_url("**/examples?at=2.6.3")
        expect(page.get_by_role("heading", name=re.compile(r"^\d\d DAGs$"))).to_be_visible()

    def test_recent_commits_are_offered(self, page: Page, examples: Server) -> None:
        page.goto(f"{examples.url}/examples")
        page.keyboard.press("t")
        expect(page.get_by_role("option", name=re.compile("airflow 3.3.2"))).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("listbox", name="Revisions")).to_have_count(0)

    @pytest.mark.parametrize(
        ("release", "words"),
        [
            ("1.10.15", "from airflow import DAG"),  # recorded: Airflow 3 cannot import it
            ("2.6.3", "from airflow import DAG"),
            ("3.3.2", "from airflow.sdk import DAG"),
        ],
    )
    def test_code_and_graph(self, page: Page, examples: Server, release: str, words: str) -> None:
        page.goto(f"{examples.url}/examples?at={release}")
        page.get_by_role("link", name="tutorial", exact=True).click()
        expect(page.locator(".graph .node")).to_have_count(3)
        page.get_by_role("link", name="Code", exact=True).click()
        expect(page.get_by_role("region", name="Source")).to_contain_text(words)
        page.get_by_role("link", name="Blame").click()
        expect(page.locator(".by a").first).to_be_visible()

    def test_a_release_that_no_longer_imports(self, page: Page, examples: Server) -> None:
        page.goto(f"{examples.url}/examples?at=1.10.15")
        page.locator("summary", has_text="import errors").click() if not page.locator(
            "details[open] summary"
        ).count() else None
        page.locator("main").get_by_role("link", name="dags/tutorial.py", exact=True).first.click()
        expect(page.get_by_role("region", name="Source")).to_contain_text("from airflow import DAG")

    def test_compare(self, page: Page, examples: Server) -> None:
        page.goto(f"{examples.url}/examples/compare?from=2.6.3&to=3.3.2")
        expect(page.get_by_role("heading", name=re.compile(r"\d+ DAGs changed"))).to_be_visible()
        page.get_by_role("link", name="tutorial", exact=True).click()
        expect(page.get_by_role("heading", name="tutorial", exact=True)).to_be_visible()
        expect(page.locator(".graph .node.changed .sign").first).to_have_text("~")
        expect(page.locator(".delta mark").first).to_be_visible()
        page.get_by_role("link", name="Unified").click()
        expect(page.locator(".delta.unified").first).to_be_visible()
        assert "view=unified" in page.url
        page.get_by_role("link", name="Changed only").click()
        assert "changed=1" in page.url

    def test_a_run_leads_to_its_code_after_a_force_push(
        self, page: Page, server: Server, world: World
    ) -> None:
        repo = world.repo
        head = repo("rev-parse", "main")
        words = 'WORDS = "only in the lost commit"\n'
        file = world.repo.path / "dags/late.py"
        lost = repo.commit({"dags/late.py": words + file.read_text()}, "lost")
        with Catalog(server.site.settings) as catalog:
            sales = catalog.repository("sales")
            catalog.index(sales, lost)
            catalog.spool.append(
                {
                    "kind": "stamp", "airflow": "default", "dag_id": "late", "run_id": "r-lost",
                    "state": "failed", "source": "scheduler", "repo": "sales", "commit": lost,
                }
            )  # fmt: skip
            catalog.drain()
            catalog.settle()
        repo("reset", "-q", "--hard", head)
        repo("reflog", "expire", "--expire=now", "--all")
        repo("gc", "-q", "--prune=now")
        page.goto(f"{server.url}/find?dag_id=late&run_id=r-lost")
        expect(page.get_by_role("heading", name="r-lost")).to_be_visible()
        expect(page.locator(".graph .node")).to_have_count(1)
        page.get_by_role("link", name="The code it ran").click()
        expect(page.get_by_role("region", name="Source")).to_contain_text("only in the lost commit")


class TestGraph:
    def test_fold_and_open(self, page: Page, examples: Server) -> None:
        page.goto(f"{examples.url}/examples/dags/example_task_group?at=3.3.2")
        expect(page.locator(".graph .node")).to_have_count(9)
        page.locator(".graph a.fold[data-group='section_2']").click()
        expect(page.locator(".graph .node.folded")).to_have_count(1)
        assert "fold=section_2" in query(page)
        page.locator(".graph .node.folded").click()
        expect(page.locator(".graph .node")).to_have_count(9)
        page.go_back()
        expect(page.locator(".graph .node.folded")).to_have_count(1)

    def test_a_task_in_full(self, page: Page, examples: Server) -> None:
        page.goto(f"{examples.url}/examples/dags/tutorial?at=3.3.2")
        page.locator(".graph .node[data-task=templated]").click()
        panel = page.get_by_role("complementary", name="Task templated")
        expect(panel).to_contain_text("macros.ds_add(ds, 7)")
        assert "task=templated" in query(page)
        panel.get_by_role("link", name="print_date").click()
        expect(page.get_by_role("complementary", name="Task print_date")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("complementary")).to_have_count(0)
        page.reload()
        expect(page.get_by_role("complementary")).to_have_count(0)

    def test_find_a_task(self, page: Page, examples: Server) -> None:
        page.goto(f"{examples.url}/examples/dags/example_complex?at=2.10.5")
        page.keyboard.press("/")
        page.keyboard.type("search_catalog")
        expect(page.locator(".graph .node.hit")).to_have_count(2)
        expect(page.locator("#tasks tbody tr:visible")).to_have_count(2)

    def test_only_what_is_upstream(self, page: Page, examples: Server) -> None:
        page.goto(f"{examples.url}/examples/dags/example_complex?at=2.10.5&task=get_entry_group")
        page.get_by_role("link", name="Only what is upstream").click()
        expect(page.locator(".graph .node")).to_have_count(2)
        page.get_by_role("link", name="Show all").first.click()
        expect(page.locator(".graph .node")).to_have_count(37)

    def test_zoom(self, page: Page, examples: Server) -> None:
        page.goto(f"{examples.url}/examples/dags/tutorial?at=3.3.2")
        svg = page.locator("svg.graph")
        before = svg.get_attribute("viewBox")
        page.get_by_role("button", name="Zoom in").click()
        assert svg.get_attribute("viewBox") != before
        page.keyboard.press("0")
        page.mouse.move(700, 480)
        page.mouse.down()
        page.mouse.move(760, 500, steps=4)
        page.mouse.up()
        assert svg.get_attribute("viewBox") != before


class TestKeyboard:
    def test_all_the_way(self, page: Page, examples: Server) -> None:
        page.goto(f"{examples.url}/examples?at=3.3.2")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("/")
        page.keyboard.type("example_task_group")
        page.keyboard.press("Escape")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url("**/dags/example_task_group?**")
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page.get_by_role("complementary", name="Task section_1.task_1")).to_be_visible()
        page.keyboard.press("y")
        page.wait_for_url(re.compile(r"at=[0-9a-f]{40}"))

    def test_along_the_edges(self, page: Page, examples: Server) -> None:
        page.goto(f"{examples.url}/examples/dags/example_task_group?at=3.3.2")
        page.locator(".graph .node[data-task=start]").focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator(".graph .node[data-task='section_1.task_1']")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("complementary", name="Task section_1.task_1")).to_be_visible()

    def test_a_range_of_lines(self, page: Page, examples: Server) -> None:
        page.goto(f"{examples.url}/examples/dags/tutorial/code?at=3.3.2#L3-L5")
        expect(page.locator(".listing tr.at")).to_have_count(3)
        page.locator("#L10 .ln a").click()
        page.locator("#L12 .ln a").click(modifiers=["Shift"])
        assert page.url.endswith("#L10-L12")
        expect(page.locator(".listing tr.at")).to_have_count(3)


class TestWithoutScript:
    @pytest.fixture
    def plain(self, browser: Any) -> Iterator[Page]:
        context = browser.new_context(viewport=WIDE, java_script_enabled=False)
        yield context.new_page()
        context.close()

    def test_it_all_works(self, plain: Page, examples: Server) -> None:
        plain.goto(f"{examples.url}/examples?at=2.6.3")
        plain.get_by_label("Revision").fill("3.3.2")
        plain.get_by_role("button", name="Go").click()
        plain.get_by_label("Filter by name").fill("task_group")
        plain.get_by_role("button", name="Show").click()
        plain.get_by_role("link", name="example_task_group", exact=True).click()
        plain.locator(".graph a.fold[data-group='section_1']").click()
        expect(plain.locator(".graph .node.folded")).to_have_count(1)
        plain.locator(".graph .node[data-task=end]").click()
        expect(plain.get_by_role("complementary", name="Task end")).to_be_visible()
        plain.get_by_role("link", name="Compare", exact=True).click()
        plain.get_by_label("From revision").fill("2.6.3")
        plain.get_by_role("button", name="Compare").click()
        expect(plain.get_by_role("heading", name=re.compile("changed"))).to_be_visible()
        expect(plain.get_by_role("button", name="Keyboard")).to_be_hidden()

    def test_a_line(self, plain: Page, examples: Server) -> None:
        plain.goto(f"{examples.url}/examples/dags/tutorial/code?at=3.3.2#L7")
        assert plain.evaluate("1") == 1
        expect(plain.locator("#L7")).to_be_in_viewport()


class TestTheme:
    def test_it_is_kept(self, page: Page, examples: Server) -> None:
        page.goto(examples.url)
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.get_by_role("button", name="Light or dark").click()
        after = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.reload()
        assert before != after == page.evaluate("getComputedStyle(document.body).backgroundColor")


LOOKED_AT = [
    "/", "/examples?at=3.3.2", "/examples?at=1.10.15", "/examples/dags/example_task_group?at=3.3.2",
    "/examples/dags/tutorial?at=3.3.2&task=templated", "/examples/dags/tutorial/code?at=3.3.2&blame=1",
    "/examples/dags/tutorial/history", "/examples/dags/tutorial/document", "/examples/dags/tutorial/runs",
    "/examples/compare?from=2.6.3&to=3.3.2", "/examples/compare?from=2.6.3&to=3.3.2&dag=tutorial",
    "/examples/compare", "/examples/commits", "/examples/deploys", "/examples/runs", "/examples/source/dags",
    "/examples/nix", "/docs", "/find?q=tutorial",
]  # fmt: skip


@pytest.mark.parametrize(
    ("scheme", "viewport"), [("light", WIDE), ("dark", NARROW)], ids=["light, wide", "dark, narrow"]
)
def test_no_barrier(browser: Any, examples: Server, scheme: str, viewport: dict[str, int]) -> None:
    """axe-core finds nothing serious, and nothing is wider than the screen."""
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    page, wrong = watched(context)
    found = []
    for path in LOOKED_AT:
        page.goto(examples.url + path)
        result = Axe().run(page)
        found += [
            (path, one["id"], one["nodes"][0]["html"][:200])
            for one in result.response["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if over > 0:
            found.append((path, "wider than the screen", str(over)))
    context.close()
    assert found == []
    assert wrong == []


def test_the_run_page_too(browser: Any, server: Server) -> None:
    context = browser.new_context(viewport=NARROW)
    page, wrong = watched(context)
    for path in (
        "/sales/runs/etl/scheduled__2",
        "/sales/runs",
        "/sales/dags/hostile?task=a&fold=*",
    ):
        page.goto(server.url + path)
        bad = [
            v["id"]
            for v in Axe().run(page).response["violations"]
            if v["impact"] in ("serious", "critical")
        ]
        assert bad == [], path
    assert wrong == []
    context.close()
