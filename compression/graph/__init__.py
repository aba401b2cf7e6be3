"""Channels of a network: what depends on what, and removing them with all shapes right.

    channels(model)                → Channels: groups of units that can be removed
    remove_channels(found, kept)   → the smaller model
    mask_channels(found, kept)     → the same function with the channels set to nought

Public names are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lwprof.compression.graph.dependencies import ChannelGroup as ChannelGroup
    from lwprof.compression.graph.dependencies import Channels as Channels
    from lwprof.compression.graph.dependencies import channels as channels
    from lwprof.compression.graph.surgery import mask_channels as mask_channels
    from lwprof.compression.graph.surgery import remove_channels as remove_channels

_LAZY = {
    "ChannelGroup": "lwprof.compression.graph.dependencies",
    "Channels": "lwprof.compression.graph.dependencies",
    "channels": "lwprof.compression.graph.dependencies",
    "mask_channels": "lwprof.compression.graph.surgery",
    "remove_channels": "lwprof.compression.graph.surgery",
}

__all__ = ["ChannelGroup", "Channels", "channels", "mask_channels", "remove_channels"]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
