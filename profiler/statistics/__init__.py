"""Intervals, stopping, verdicts, closure and flags. Pure: no clocks, files or sockets."""

from lwprof.profiler.statistics.closure import (
    central_mean,
    closure,
    group_estimate,
    kernel_estimates,
)
from lwprof.profiler.statistics.estimate import SOURCES, Estimate
from lwprof.profiler.statistics.flags import block_flags, fitness
from lwprof.profiler.statistics.intervals import (
    latency_interval,
    mean_interval,
    percentile_interval,
)
from lwprof.profiler.statistics.stopping import StopRule
from lwprof.profiler.statistics.verdict import (
    Comparison,
    PairedDesign,
    compare_independent,
    compare_log_ratios,
    gate,
    holm,
)

__all__ = [
    "SOURCES",
    "Comparison",
    "Estimate",
    "PairedDesign",
    "StopRule",
    "block_flags",
    "central_mean",
    "closure",
    "compare_independent",
    "compare_log_ratios",
    "fitness",
    "gate",
    "group_estimate",
    "holm",
    "kernel_estimates",
    "latency_interval",
    "mean_interval",
    "percentile_interval",
]
