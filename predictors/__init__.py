"""Cost models: lookup tables and regressors.

- ``Space``: what a space of architectures must offer (implementations: ``lwprof.search.spaces``)
- ``TableRegressor(space).fit(codes, y)``: one device, a space's codes
- ``TransferRegressor(space, sources).fit(codes_few, y_few)``: a new device, others' tables
- ``KernelRegressor().fit(workloads, y)``: kernels of any network
- ``BlockTable``: costs of every choice of every block, for millions of codes a second
- ``ChannelTable``: costs as a function of how many channels each group of layers keeps

Public names are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lwprof.predictors.block_table import BlockTable as BlockTable
    from lwprof.predictors.channel_table import ChannelTable as ChannelTable
    from lwprof.predictors.kernel_regressor import KernelRegressor as KernelRegressor
    from lwprof.predictors.space import Space as Space
    from lwprof.predictors.table_regressor import TableRegressor as TableRegressor
    from lwprof.predictors.transfer import TransferRegressor as TransferRegressor

_LAZY = {
    "BlockTable": "lwprof.predictors.block_table",
    "ChannelTable": "lwprof.predictors.channel_table",
    "KernelRegressor": "lwprof.predictors.kernel_regressor",
    "Space": "lwprof.predictors.space",
    "TableRegressor": "lwprof.predictors.table_regressor",
    "TransferRegressor": "lwprof.predictors.transfer",
}

__all__ = [
    "BlockTable",
    "ChannelTable",
    "KernelRegressor",
    "Space",
    "TableRegressor",
    "TransferRegressor",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
