"""Intervals, stopping, verdicts, closure and flags. Pure: no clocks, files or sockets."""
