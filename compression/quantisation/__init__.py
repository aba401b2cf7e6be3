"""Fewer bits per number: float16, int8, shared, ternary and binary weights."""
