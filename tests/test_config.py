"""Settings: where they come from, which wins, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitdags.config import SETTINGS, BadSetting, Settings, load, project_table


def test_every_default_parses() -> None:
    settings = Settings({}, {})
    for setting in SETTINGS:
        settings[setting.name]
        assert setting.help


def test_the_strongest_source_wins() -> None:
    sources = [
        (
            {"size_budget": "1"},
            {"GITDAGS_SIZE_BUDGET": "2"},
            {"size_budget": "3"},
            {"size_budget": "4"},
        ),
        ({}, {"GITDAGS_SIZE_BUDGET": "2"}, {"size_budget": "3"}, {"size_budget": "4"}),
        ({}, {}, {"size_budget": "3"}, {"size_budget": "4"}),
        ({}, {}, {}, {"size_budget": "4"}),
        ({}, {}, {}, {}),
    ]
    found = [
        (s["size_budget"], s.origin("size_budget")[1]) for s in (Settings(*x) for x in sources)
    ]
    assert found == [
        (1, "flag"), (2, "environment"), (3, "project"), (4, "user"), (1 << 20, "default"),
    ]  # fmt: skip


def test_a_repository_may_set_layout_and_display_only() -> None:
    table = project_table(
        b"[tool.gitdags]\ndags_folder = 'pipelines'\nexclude = ['doc_md']\npython = '/tmp/evil'\n"
        b"home = '/tmp'\nparse_timeout = 9999\nplugins = true\nunknown = 1\nsize_budget = 'much'\n"
    )
    assert table == {"dags_folder": "pipelines", "exclude": ["doc_md"], "plugins": True}
    settings = Settings({}, {}, table)
    assert settings["exclude"] == ("doc_md",)
    assert settings["plugins"] is True
    assert settings["python"] == ""


@pytest.mark.parametrize("text", [b"", b"\xff", b"[tool", b"[tool]\ngitdags = 3", b"tool = 1"])
def test_a_damaged_pyproject_sets_nothing(text: bytes) -> None:
    assert project_table(text) == {}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("parse_memory", "512M", 512 << 20), ("parse_memory", "2GiB", 2 << 30), ("parse_memory", "7", 7),
        ("plugins", "yes", True), ("plugins", "off", False), ("jobs", "4", 4),
        ("parse_timeout", "2.5", 2.5), ("include", "tasks, edges,", ("tasks", "edges")),
        ("dags_folder", "a/./b/", "a/b"), ("dags_folder", ".", ""),
    ],
)  # fmt: skip
def test_values(name: str, value: str, expected: object) -> None:
    assert Settings({}, {f"GITDAGS_{name.upper()}": value})[name] == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("parse_memory", "much"), ("plugins", "perhaps"), ("jobs", "-1"), ("jobs", "x"),
        ("parse_timeout", "-3"), ("parse_timeout", "nan"), ("engine", "steam"),
        ("dags_folder", "../x"), ("dags_folder", "/x"), ("json_library", "xml"),
    ],
)  # fmt: skip
def test_what_is_refused_names_its_place(name: str, value: str) -> None:
    with pytest.raises(BadSetting) as caught:
        Settings({}, {f"GITDAGS_{name.upper()}": value})[name]
    assert f"GITDAGS_{name.upper()}" in caught.value.message


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises(BadSetting, match="no setting"):
        Settings({"colour": "blue"}, {})


class TestUserFile:
    def test_it_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "gitdags").mkdir()
        (tmp_path / "gitdags" / "config.toml").write_text("jobs = 3\n")
        settings = load({}, {"XDG_CONFIG_HOME": str(tmp_path)})
        assert settings.origin("jobs") == ("3", "user")

    @pytest.mark.parametrize("text", ["jobs = ", "colour = 'blue'\n", "\udcff"])
    def test_a_damaged_one_is_named(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "gitdags").mkdir()
        file = tmp_path / "gitdags" / "config.toml"
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(BadSetting, match=r"config\.toml"):
            load({}, {"XDG_CONFIG_HOME": str(tmp_path)})


def test_home_follows_xdg(tmp_path: Path) -> None:
    assert Settings({}, {"XDG_DATA_HOME": str(tmp_path)}).home == tmp_path / "gitdags"
    assert Settings({"home": str(tmp_path)}, {}).database == f"sqlite:///{tmp_path}/gitdags.db"
