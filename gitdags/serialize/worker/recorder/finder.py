"""The imports of a DAG file: Airflow's modules made of `names`, missing ones of stand-ins.

`airflow` and all below it is always ours, also where a real Airflow is installed. Any other module is
the real one if it can be found; if not, and code of the repository asks for it, a stand-in.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import os
import sys
import types
from collections.abc import Sequence
from typing import Any

from . import era, names, notes, standin, surroundings, things
from .callers import is_ours


class AirflowModule(standin.StandInModule):
    """A module of Airflow, or of a provider."""

    def __getattr__(self, name: str) -> Any:
        own = self.__name__
        if (own, name) in (("airflow", "__version__"), ("airflow.version", "version")):
            return era.version
        if name.startswith("__"):
            raise AttributeError(f"module {own!r} has no attribute {name!r}")
        if own == "airflow.settings" and name in surroundings.conf.places:
            return surroundings.conf.places[name]
        found = names.look_up(own, name)
        if found is None:
            if not era.has_module(f"{own}.{name}"):
                raise AttributeError(f"module {own!r} has no attribute {name!r} in {era.version}")
            found = importlib.import_module(f"{own}.{name}")
        self.__dict__[name] = found
        return found


class AirflowFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds every module of Airflow that there was in the era."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> Any:
        """A spec for ``airflow`` and below."""
        if name != "airflow" and not name.startswith("airflow."):
            return None
        if not era.has_module(name):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        """The module, still empty: names are made when they are asked for."""
        return AirflowModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


class MissingFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked last: looks in the repository's likely folders, then makes a stand-in."""

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root) + os.sep
        self.folders: list[str] = []
        self.made: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> Any:
        """A spec where code of the repository, or a stand-in, wants the module."""
        top, _, rest = name.partition(".")
        if top == "airflow":
            return None  # the era has no such module
        parent = name.rpartition(".")[0]
        if isinstance(sys.modules.get(parent), standin.StandInModule):
            return self._spec(name)
        if not is_ours(sys._getframe(1), self.root):
            return None
        if not rest:
            found = importlib.machinery.PathFinder.find_spec(name, self.folders)
            if found is not None and found.origin is not None:
                notes.guess(
                    f"{name} is found in {os.path.relpath(os.path.dirname(found.origin), self.root)}"
                )
                return found
        if top in sys.stdlib_module_names if hasattr(sys, "stdlib_module_names") else False:
            return None  # of another platform, or gone from this Python
        notes.guess(f"{name} is not installed: a stand-in")
        return self._spec(name)

    def _spec(self, name: str) -> Any:
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        """The stand-in; of libraries for dates, one that makes real dates."""
        module = standin.StandInModule(spec.name)
        module.__dict__.update(things.LIBRARIES.get(spec.name, {}))
        self.made.add(spec.name)
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


class SourceLoader(importlib.machinery.SourceFileLoader):
    """Compiles from source always: bytecode would hide what is read."""

    def get_code(self, fullname: str) -> Any:
        """The code of the source as it is now."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def install(root: str, folders: list[str]) -> MissingFinder:
    """Put both finders in place."""
    sys.meta_path.insert(0, AirflowFinder())
    missing = MissingFinder(root)
    missing.folders = folders
    sys.meta_path.append(missing)
    return missing
