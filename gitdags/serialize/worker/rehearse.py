"""Go through all of a tier's confinement once, with no DAG file: exit code 0 if all of it holds.

Started alone: ``python rehearse.py``, the tier's configuration as JSON on standard input.
"""

import importlib.util
import json
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_spec = importlib.util.spec_from_file_location(
    "gitdags_worker", os.path.join(_HERE, "__init__.py"), submodule_search_locations=[_HERE]
)
assert _spec is not None
sys.modules["gitdags_worker"] = importlib.util.module_from_spec(_spec)
confine = importlib.import_module("gitdags_worker.confine")


def main() -> int:
    """Fork and enter, as for a file; the child must then be without the rights it began with."""
    config = json.load(sys.stdin)
    confinement = confine.Confinement(config)
    scratch = os.path.join(config["home"], "scratch")
    if config["tier"] != confine.FULL:
        os.mkdir(scratch)
        if os.getuid() == 0:
            os.chown(scratch, config["user"], config["user"])
    child = confinement.fork()
    if child == 0:
        try:
            confinement.enter(os.path.join(config["trees"], "repo"), scratch)
            with open(os.path.join(scratch, "file"), "w") as file:
                file.write("written")
            os._exit(0 if _held() else 1)
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _held() -> bool:
    """Whether what must be refused is refused."""
    for place in ("/tmp/../escaped", "/etc/escaped"):
        try:
            with open(place, "w"):
                print(f"{place} could be written", file=sys.stderr, flush=True)
                return False
        except OSError:
            continue
    return True


sys.exit(main())
