"""The pictures of the README: real pages, on the real history, light and dark."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gitdags"
GITDAGS = str(Path(sys.executable).with_name("gitdags"))
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
# Name -> (page, colour scheme, height in pixels).
PICTURES = {
    "compare": ("/examples/compare?from=2.10.5&to=3.3.2&dag=example_dag_decorator", "light", 860),
    "graph": ("/examples/dags/example_task_group?at=3.3.2&task=section_1.task_2", "dark", 700),
}


def main(argv: Sequence[str]) -> int:
    """Index what is shown, serve it, take the pictures."""
    folder = Path(argv[0]) if argv else HERE.parent / "docs" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    history = CACHE / "history"
    if not (history / ".git").exists():
        subprocess.run([sys.executable, HERE / "airflow-history", history], check=True)
    with tempfile.TemporaryDirectory(prefix="gitdags-pictures-") as home:
        environ = {**os.environ, "GITDAGS_HOME": home}
        words = [GITDAGS, "-q", "init", history, "--name", "examples"]
        subprocess.run(words, env=environ, check=True)
        for release in ("2.10.5", "3.3.2"):
            words = [GITDAGS, "-q", "-r", "examples", "index", release]
            subprocess.run(words, env=environ, check=True)
        server = subprocess.Popen(
            [GITDAGS, "-q", "serve", "--port", "0"], stdout=subprocess.PIPE, text=True, env=environ
        )
        try:
            assert server.stdout is not None
            take(server.stdout.readline().strip().rstrip("/"), folder)
        finally:
            server.terminate()
            server.wait(30)
    return 0


def take(address: str, folder: Path) -> None:
    """Each picture, at 1,200 pixels wide."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for name, (page, scheme, height) in PICTURES.items():
            size = {"width": 1_200, "height": height}
            context = browser.new_context(viewport=size, color_scheme=scheme)
            shown = context.new_page()
            shown.goto(address + page, wait_until="networkidle")
            shown.screenshot(path=folder / f"{name}.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
