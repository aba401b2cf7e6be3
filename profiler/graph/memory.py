"""Peak activation memory by liveness."""

from __future__ import annotations
