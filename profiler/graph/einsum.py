"""MACs of ``Einsum``: operands are contracted pairwise, from left to right, as runtimes do."""

from __future__ import annotations

from math import prod

from lwprof.profiler.graph.site import Site, Uncountable


def einsum_macs(site: Site) -> int:
    """The products formed by all pairwise contractions.

    A pair that shares every index with one of its operands and sums none is elementwise
    arithmetic and counts 0, like ``Mul``. One operand alone (a transpose, a diagonal, a
    sum) multiplies nothing.

    Raises:
        Uncountable: an extent is unknown, or the equation is not understood.
    """
    shapes = [site.input(place) for place in range(len(site.inputs))]
    terms, result = _terms(str(site.attributes["equation"]), shapes)
    extents: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for label, extent in zip(term, shape, strict=True):
            extents[label] = max(extents.get(label, 1), extent)  # 1 broadcasts
    total, left = 0, set(terms[0])
    for place, term in enumerate(terms[1:], start=1):
        right = set(term)
        later = set(result).union(*terms[place + 1 :])
        joined = left | right
        kept = joined & later
        if kept != joined or not (left <= right or right <= left):
            total += prod(extents[label] for label in joined)
        left = kept
    return total


def _terms(equation: str, shapes: list[tuple[int, ...]]) -> tuple[list[str], str]:
    """One label per dimension; the dimensions of ``...`` get digits, aligned at their end."""
    text = "".join(equation.split())
    inputs, arrow, result = text.partition("->")
    operands = inputs.split(",")
    if len(operands) != len(shapes):
        raise Uncountable
    terms, dots = [], ""
    for operand, shape in zip(operands, shapes, strict=True):
        spare = len(shape) - len(operand.replace("...", ""))
        if spare < 0 or spare > 9 or ("..." not in operand and spare):
            raise Uncountable
        own = "".join(str(digit) for digit in range(spare, 0, -1))
        dots = max(dots, own, key=len)
        terms.append(operand.replace("...", own))
    if arrow:
        return terms, result.replace("...", dots)
    everything = "".join(terms)
    once = sorted({c for c in everything if everything.count(c) == 1 and c.isalpha()})
    return terms, dots + "".join(once)
