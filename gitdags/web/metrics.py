"""Numbers for Prometheus, in its text format. Counts; knows nothing of what it counts."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
Labels = Mapping[str, str]


class Metrics:
    """Requests by route and status. Shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, str, int], int] = defaultdict(int)
        self._seconds: dict[str, list[float]] = defaultdict(lambda: [0.0] * (len(_BOUNDS) + 2))

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        method = method if method in ("GET", "HEAD", "POST") else "other"
        with self._lock:
            self._requests[route, method, status] += 1
            buckets = self._seconds[route]
            buckets[bisect_left(_BOUNDS, seconds)] += 1
            buckets[-1] += seconds

    def text(self) -> str:
        """What was counted so far."""
        out = ["# TYPE gitdags_http_requests_total counter"]
        with self._lock:
            requests = sorted(self._requests.items())
            seconds = sorted((route, list(buckets)) for route, buckets in self._seconds.items())
        for (route, method, status), number in requests:
            labels = {"route": route, "method": method, "status": str(status)}
            out.append(f"gitdags_http_requests_total{_labels(labels)} {number}")
        out.append("# TYPE gitdags_http_request_seconds histogram")
        for route, buckets in seconds:
            total = 0.0
            for bound, number_in in zip((*map(str, _BOUNDS), "+Inf"), buckets, strict=False):
                total += number_in
                labels = {"route": route, "le": bound}
                out.append(f"gitdags_http_request_seconds_bucket{_labels(labels)} {total:g}")
            out.append(
                f"gitdags_http_request_seconds_sum{_labels({'route': route})} {buckets[-1]:.6f}"
            )
            out.append(f"gitdags_http_request_seconds_count{_labels({'route': route})} {total:g}")
        return "\n".join(out) + "\n"


def gauge(name: str, help: str, values: Iterable[tuple[Labels, float]], kind: str = "gauge") -> str:
    """One metric's lines."""
    lines = [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{_labels(labels)} {value:g}" for labels, value in values]
    return "\n".join(lines) + "\n"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
