"""Counts, as Prometheus reads them."""

from __future__ import annotations

from fuse_mount import protocol as p
from fuse_mount.metrics import Metrics


def test_the_histogram_adds_up() -> None:
    metrics = Metrics(lambda: {"nodes": 7})
    for nanoseconds in (1_000, 2_000, 3_000, 40_000, 10**9, 10**11):
        metrics.record(p.LOOKUP, nanoseconds)
    metrics.record(99, 5_000)
    metrics.errors[5] += 1
    lines = metrics.prometheus().splitlines()
    buckets = [int(line.rsplit(" ", 1)[1]) for line in lines if "_bucket" in line]
    assert buckets == sorted(buckets)
    assert buckets[0] == 2  # less than 2,048 ns
    assert buckets[-1] == 7
    assert 'gitdags_mount_operations_total{op="lookup"} 6' in lines
    assert 'gitdags_mount_operations_total{op="99"} 1' in lines
    assert 'gitdags_mount_errors_total{errno="5"} 1' in lines
    assert "gitdags_mount_latency_seconds_count 7" in lines
    assert "gitdags_mount_nodes 7" in lines
