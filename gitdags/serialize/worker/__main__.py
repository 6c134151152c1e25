"""Start the worker without putting its folder on sys.path, where it would shadow DAG code's imports."""

import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
if sys.path and os.path.abspath(sys.path[0]) == _HERE:
    del sys.path[0]
_spec = importlib.util.spec_from_file_location(
    "gitdags_worker", os.path.join(_HERE, "__init__.py"), submodule_search_locations=[_HERE]
)
assert _spec is not None
assert _spec.loader is not None
sys.modules["gitdags_worker"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["gitdags_worker"])

importlib.import_module("gitdags_worker.parent").main(int(sys.argv[1]), int(sys.argv[2]))
