"""What came back from a child: its answer, if it is one, or what to say of its end. Pure."""

from __future__ import annotations

import os
import signal
from typing import Any

from gitdags.errors import shown


def checked(answer: Any) -> dict[str, list[Any]]:
    """A result whose shape is as it should be; a DAG file can write its own. Raises TypeError."""

    def demand(right: bool) -> None:
        if not right:
            raise TypeError

    demand(isinstance(answer, dict))
    for name in ("dags", "errors", "opened", "modules"):
        demand(isinstance(answer[name], list))
    for found in answer["dags"]:
        demand(isinstance(found, dict) and isinstance(found["document"], dict))
        demand("airflow" in found)
        for name in ("guesses", "placeholders"):
            demand(isinstance(found[name], list) and all(isinstance(x, str) for x in found[name]))
    for error in answer["errors"]:
        demand(all(isinstance(error[key], str) for key in ("type", "message", "traceback")))
    demand(all(isinstance(name, str) for name in (*answer["opened"], *answer["modules"])))
    return answer  # type: ignore[no-any-return]  # just shown to be one


def death(status: int, output: str) -> str:
    """What to say of a child that ended without a result; ``status`` as in os.waitpid."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        return f"killed by {name} ({signal.strsignal(number)})"
    if "MemoryError" in output:
        return "ran out of memory (parse_memory)"
    code = os.waitstatus_to_exitcode(status)
    last = output.strip().splitlines()[-1:] if "Traceback" in output else []
    why = f": {shown(last[0], 200)}" if last else ""
    return f"exited with status {code} while it was parsed{why}"


def size(count: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} bytes"
