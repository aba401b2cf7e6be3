"""Which context a question is about, and the best cost model that exists for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lwprof.device_profiles import find_device
from lwprof.errors import UsageError
from lwprof.predictors.fitted import FittedCostModel, Unknown, saved_at
from lwprof.predictors.interpolation import InterpolatingCostModel
from lwprof.predictors.lookup import LookupCostModel
from lwprof.profiler.store import Context, Store, open_store
from lwprof.profiler.store.location import predictors_folder

if TYPE_CHECKING:
    from lwprof.predictors.fitting import Fit

GRAPHS = "graphs"
"""Folder beside the predictors, of what is known of graphs."""


def open_cost_model(
    device: str, choice: Mapping[str, Any], store: str | None, unknown: Unknown = "miss"
) -> LookupCostModel:
    """The table of a device in the one context that matches, with its regressor if one is fitted.

    Raises:
        UsageError: no context matches, or several do (they are listed).
    """
    find_device(device)
    database = open_store(store)
    context = choose_context(database, device, choice)
    folder = predictors_folder(store)
    path, graphs = saved_at(folder, context), folder / GRAPHS
    if not path.exists():
        return InterpolatingCostModel(device, database, context, graphs)
    return FittedCostModel(device, database, context, path, unknown, graphs)


def fit(device: str, choice: Mapping[str, Any], store: str | None, random_state: int = 0) -> Fit:
    """Fits the regressor of the one context that matches, and saves it beside the store.

    Raises:
        UsageError: as ``open_cost_model``; or the table is too small.
    """
    from lwprof.predictors.fitting import fit_context  # predicting alone need not load it

    find_device(device)
    with open_store(store) as database:
        context = choose_context(database, device, choice)
        return fit_context(device, database, context, predictors_folder(store), random_state)


def choose_context(database: Store, device: str, choice: Mapping[str, Any]) -> Context:
    """The one context of a device with numbers in it that has the chosen fields.

    Raises:
        UsageError: none matches, or several do; they are listed.
    """
    contexts = [c for c in database.contexts(device=device) if _matches(c, choice)]
    useful = [c for c in contexts if database.facts(context=c.key)]
    if len(useful) == 1:
        return useful[0]
    if not useful:
        asked = ", ".join(f"{k}={v}" for k, v in choice.items())
        raise UsageError(
            f"nothing was measured on {device!r}{f' with {asked}' if asked else ''}: "
            f"run lwprof measure MODEL --device {device}"
        )
    listed = "; ".join(c.describe() for c in useful)
    raise UsageError(
        f"{len(useful)} contexts of {device!r} match, choose one with --runtime, --threads, "
        f"--provider or --precision: {listed}"
    )


def _matches(context: Context, choice: Mapping[str, Any]) -> bool:
    return all(getattr(context, name) == value for name, value in choice.items())
