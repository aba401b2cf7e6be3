"""Intervals, verdicts, flags and closure from block-level values. Pure: no clocks, no files."""

from lwprof.profiler.statistics.estimate import SOURCES, Estimate

__all__ = ["SOURCES", "Estimate"]
