"""Logs as JSON, one object a line, on stderr: time, level, event, and whatever goes with it."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import orjson

_USUAL = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class Line(logging.Formatter):
    """A record as a JSON object; what was given as ``extra`` stands in it by name."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        told = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        told |= {k: v for k, v in record.__dict__.items() if k not in _USUAL and v is not None}
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(told, default=str).decode("utf-8", "replace")


def configure(verbosity: int) -> None:
    """Where `gitdags serve` logs: with -q warnings only, with -v every request's beginning too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Line())
    level = logging.WARNING if verbosity < 0 else logging.INFO
    for name in ("gitdags.web", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(level if name.startswith("gitdags") else logging.WARNING)
