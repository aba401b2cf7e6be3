"""A model under every transform: what came out, what it costs on paper, how far outputs move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lwprof.compression.running import Feed, outputs, random_feeds, relative_error
from lwprof.compression.transform import Given, Transform, Transformed
from lwprof.errors import LwprofError, ModelError
from lwprof.profiler.graph import Graph, materialise, read


@dataclass(frozen=True, slots=True)
class Candidate:
    """One transform of the audited model.

    Attributes:
        transformed: None where it failed.
        graph: the new model as it was read; None where nothing was changed.
        reason: why it was not applied; None where it was.
        output_error: relative error of the outputs on the audit's data; None where the
            model was not run.
    """

    transform: Transform
    transformed: Transformed | None
    graph: Graph | None
    reason: str | None
    output_error: float | None = None

    @property
    def applied(self) -> bool:
        """Whether there is a changed model."""
        return self.graph is not None

    @property
    def id(self) -> str:
        """Of the transform."""
        return self.transform.id


def apply_all(
    graph: Graph,
    transforms: Sequence[Transform],
    given: Given,
    feeds: Sequence[Feed] | None = None,
    tell: Callable[[str, int, int], None] = lambda *_: None,
    price: Callable[[Any], float] | None = None,
) -> list[Candidate]:
    """Applies each transform to the model, alone, and runs the results on the host.

    Args:
        feeds: data on which outputs are compared; None: calibration data, else random.
        tell: called with a transform's id, its place and their number.
        price: seconds of a model, for transforms that ask layer by layer.
    """
    data = list(feeds if feeds is not None else given.data) or random_feeds(graph, 2, given.seed)
    reference = outputs(graph.proto, data)
    found = []
    for place, transform in enumerate(transforms):
        tell(transform.id, place, len(transforms))
        own = replace(given, price=price) if transform.prices else given
        found.append(apply_one(graph, transform, own, data, reference))
    return found


def apply_one(
    graph: Graph, transform: Transform, given: Given, data: Sequence[Feed], reference: Any
) -> Candidate:
    """One transform; what it raises about the model becomes the reason."""
    try:
        done = transform.apply(graph, given)
    except LwprofError as error:
        return Candidate(transform, None, None, str(error))
    if not done.applied:
        return Candidate(transform, done, None, done.reason)
    try:
        # ONNX Runtime's own operators, as quantisers use them, are shaped from the inputs.
        changed = materialise(read(done.model, name=f"{graph.name}+{transform.id}"))
        moved = relative_error(reference, outputs(changed.proto, data))
    except ModelError as refused:
        return Candidate(transform, done, None, f"the runtime refuses the result: {refused}")
    return Candidate(transform, done, changed, None, moved)
