"""The contract of a lightweight transform: a model in, a changed model out, with reasons.

Every technique of the survey that rewrites a graph is a ``Transform``. It never touches the
model it is given, it names what it changed, and it says why it left the rest alone:
something that does not fit, or a change that would cost more than it saves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lwprof.compression.rewriting import Rewriting
from lwprof.profiler.graph import Graph, materialise, read

Equivalence = Literal["equal", "approximate", "substituted"]
"""equal: the same function, up to rounding. approximate: the same weights, held less exactly.
substituted: another function of the same shapes, which must be trained before it is of use."""

Feed = Mapping[str, Any]
"""One batch: input name → array."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a transform may use beside the model.

    Attributes:
        data: calibration batches; empty where none were given.
        error: relative error that one layer's weights, or its responses, may have; ranks
            and widths are chosen below it.
        work: where set, ranks are chosen by this share of a layer's multiply-accumulates
            instead, whatever error that costs: for pricing before training.
        price: seconds of a model by a cost model, where layers are to be chosen by time;
            None means by multiply-accumulates. It may raise ``CostMiss``.
        seed: of every random choice.
    """

    data: Sequence[Feed] = ()
    error: float = 0.1
    work: float | None = None
    price: Callable[[Any], float] | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Transformed:
    """What a transform made of a model.

    Attributes:
        model: the new ``onnx.ModelProto``; the original where nothing was changed.
        changed: names of the original's nodes that were replaced.
        refused: by node name, why it was left alone; "" is the whole model.
        error: largest relative error of one layer's weights or responses (Frobenius norm);
            0 for equal transforms, None where the function was substituted.
        size_bytes: bytes of the weights as the technique stores them, where that differs
            from the file's size (shared, binary …); None otherwise.
        peak_memory_bytes: peak activation memory under the transform's own schedule, where
            it has one; None otherwise.
        simulated: True where no kernels exist for the stored form: the model computes the
            same numbers with dense kernels, so its time says nothing of the technique.
        notes: what to know, for people.
    """

    model: Any
    changed: tuple[str, ...]
    refused: Mapping[str, str]
    equivalence: Equivalence
    error: float | None = 0.0
    size_bytes: int | None = None
    peak_memory_bytes: int | None = None
    simulated: bool = False
    notes: tuple[str, ...] = ()

    @property
    def applied(self) -> bool:
        """Whether anything was changed."""
        return bool(self.changed)

    @property
    def reason(self) -> str:
        """Why nothing was changed: the commonest reason, with how many nodes gave it."""
        counts: dict[str, int] = {}
        for text in self.refused.values():
            counts[text] = counts.get(text, 0) + 1
        if not counts:
            return "no operator that it applies to"
        text, count = max(counts.items(), key=lambda item: item[1])
        return text if count == 1 else f"{text} ({count} operators)"


@dataclass(slots=True)
class Draft:
    """A model while a transform works on it.

    Attributes:
        rewriting: the graph being changed.
        given: what the caller gave.
        changed, refused, error, size_bytes, peak_memory_bytes, simulated, notes: as in
            ``Transformed``; errors of several layers are combined by their largest.
    """

    rewriting: Rewriting
    given: Given
    changed: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    error: float | None = 0.0
    size_bytes: int | None = None
    peak_memory_bytes: int | None = None
    simulated: bool = False
    notes: list[str] = field(default_factory=list)

    def note_error(self, error: float) -> None:
        """Takes one layer's relative error into the largest of all."""
        self.error = max(self.error or 0.0, error)


@dataclass(frozen=True, slots=True)
class Transform:
    """One lightweight technique.

    Attributes:
        id: what the command line and results call it, e.g. ``svd``.
        technique: what it is, for people.
        row: of the survey's table, e.g. ``C16``.
        equivalence: what it promises of the outputs.
        applies_to: which operators, in words.
        rewrite: works on a draft; changes nothing where nothing fits.
        prices: whether it asks the cost model layer by layer: an audit gives it one.
    """

    id: str
    technique: str
    row: str
    equivalence: Equivalence
    applies_to: str
    rewrite: Callable[[Draft], None] = field(repr=False)
    prices: bool = False

    def apply(self, model: Any, given: Given | None = None) -> Transformed:
        """Applies the transform to a model; the model itself is left unchanged.

        Args:
            model: a ``Graph``, or anything that ``lwprof.profiler.graph.read`` accepts.
            given: calibration data and limits.

        Raises:
            ModelError: the model cannot be read.
        """
        graph = materialise(model if isinstance(model, Graph) else read(model))
        draft = Draft(Rewriting(graph), given or Given())
        if self.equivalence == "substituted":
            draft.error = None
        self.rewrite(draft)
        return Transformed(
            model=draft.rewriting.finish() if draft.changed else graph.proto,
            changed=tuple(dict.fromkeys(draft.changed)),
            refused={k: v for k, v in draft.refused.items() if k not in draft.changed},
            equivalence=self.equivalence,
            error=draft.error,
            size_bytes=draft.size_bytes,
            peak_memory_bytes=draft.peak_memory_bytes,
            simulated=draft.simulated,
            notes=tuple(draft.notes),
        )
