"""Counts of what a server did: operations, errors, cache hits, a histogram of latencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from fuse_mount.protocol import NAMES

BUCKETS = 32  # bucket n counts what took less than 2**n ns, the last one everything else
_FIRST = 11  # 2 µs; nothing is quicker

Gauges = Callable[[], Mapping[str, float]]


class Metrics:
    """Counters of one server; written by its serving thread, read by any."""

    def __init__(self, gauges: Gauges = dict) -> None:
        self.operations: Counter[int] = Counter()
        self.errors: Counter[int] = Counter()
        self.latency = [0] * (BUCKETS + 1)
        self.nanoseconds = 0
        self._gauges = gauges

    def record(self, opcode: int, nanoseconds: int) -> None:
        """Counts one operation and the time it took."""
        self.operations[opcode] += 1
        self.nanoseconds += nanoseconds
        self.latency[min(nanoseconds.bit_length(), BUCKETS)] += 1

    def prometheus(self) -> str:
        """All of it in Prometheus' text format 0.0.4."""
        lines = ["# TYPE gitdags_mount_operations_total counter"]
        lines += [
            f'gitdags_mount_operations_total{{op="{NAMES.get(op, str(op))}"}} {count}'
            for op, count in sorted(self.operations.items())
        ]
        lines.append("# TYPE gitdags_mount_errors_total counter")
        lines += [
            f'gitdags_mount_errors_total{{errno="{number}"}} {count}'
            for number, count in sorted(self.errors.items())
        ]
        lines.append("# TYPE gitdags_mount_latency_seconds histogram")
        total = sum(self.latency[:_FIRST])
        for bucket in range(_FIRST, BUCKETS):
            total += self.latency[bucket]
            bound = f"{2**bucket / 1e9:.9g}"
            lines.append(f'gitdags_mount_latency_seconds_bucket{{le="{bound}"}} {total}')
        total += self.latency[BUCKETS]
        lines.append(f'gitdags_mount_latency_seconds_bucket{{le="+Inf"}} {total}')
        lines.append(f"gitdags_mount_latency_seconds_sum {self.nanoseconds / 1e9:.6f}")
        lines.append(f"gitdags_mount_latency_seconds_count {total}")
        for name, value in sorted(self._gauges().items()):
            lines += [f"# TYPE gitdags_mount_{name} gauge", f"gitdags_mount_{name} {value:g}"]
        return "\n".join(lines) + "\n"
