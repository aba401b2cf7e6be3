"""Linear branches of one input, added up, as one convolution (survey B11, B12).

RepVGG (arXiv 2101.03697) trains 3×3 + 1×1 + identity, each normalised, and deploys their
sum as one 3×3; RepGhost (arXiv 2211.06088) does so with a depthwise 3×3 beside a normalised
identity. A k×k kernel padded with zeros, and the identity as a 1×1 kernel, are the same
functions in weight space, and sums of convolutions of one input are one convolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lwprof.compression.layers import ConvLayer, conv_layer, put_conv
from lwprof.compression.rewriting import Rewriting
from lwprof.compression.structure.batch_norm import Affine, affine
from lwprof.compression.transform import Draft, Transform


@dataclass(frozen=True, slots=True)
class _Branch:
    """One term of a sum as a linear function of ``source``.

    Attributes:
        conv: None for the identity.
        after: the batch normalisation behind it; None for none.
        nodes: nodes that the merged convolution replaces.
    """

    source: str
    conv: ConvLayer | None
    after: Affine | None
    nodes: tuple[Any, ...]


def reparameterise(draft: Draft) -> None:
    """Merges the parallel linear branches of every sum."""
    rewriting = draft.rewriting
    for node in rewriting.nodes:
        if node.op_type != "Add" or not _is_root(rewriting, node):
            continue
        inner, leaves = _terms(rewriting, node)
        branches = [_branch(rewriting, leaf) for leaf in leaves]
        groups: dict[str, list[_Branch]] = {}
        for branch in branches:
            groups.setdefault(branch.source, []).append(branch)
        shared = [g for g in groups.values() if len(g) > 1 and any(b.conv for b in g)]
        if not shared:
            continue
        reason = next((r for g in shared if (r := _unfit(g))), None)
        if reason is not None:
            draft.refused[node.name] = reason
            continue
        _rebuild(rewriting, node, inner, groups)
        draft.changed += [n.name for g in shared for b in g for n in b.nodes] + [node.name]


def _is_root(rewriting: Rewriting, node: Any) -> bool:
    """Whether a sum is not just a term of a larger one."""
    result = node.output[0]
    return not (rewriting.is_private(result) and rewriting.consumers(result)[0].op_type == "Add")


def _terms(rewriting: Rewriting, root: Any) -> tuple[list[Any], list[str]]:
    """Adds of one sum, and the values that it adds up."""
    adds, leaves, waiting = [root], [], list(root.input)[::-1]
    while waiting:
        name = waiting.pop()
        maker: Any = rewriting.producer(name)
        same = maker is not None and rewriting.shape(name) == rewriting.shape(root.output[0])
        if same and maker.op_type == "Add" and rewriting.is_private(name):
            adds.append(maker)
            waiting += list(maker.input)[::-1]
        else:
            leaves.append(name)
    return adds, leaves


def _branch(rewriting: Rewriting, leaf: str) -> _Branch:
    nodes: list[Any] = []
    name, after = leaf, None
    maker = rewriting.producer(name)
    if maker is not None and rewriting.is_private(name):
        after = affine(rewriting, maker)
        if after is not None:
            nodes.append(maker)
            name = maker.input[0]
    maker = rewriting.producer(name)
    if maker is not None and rewriting.is_private(name):
        conv = conv_layer(rewriting, maker)
        if conv is not None:
            return _Branch(conv.source, conv, after, (maker, *nodes))
    return _Branch(name, None, after, tuple(nodes))


def _unfit(group: list[_Branch]) -> str | None:
    """Why the branches of one input cannot be one convolution."""
    convs = [branch.conv for branch in group if branch.conv is not None]
    first = convs[0]
    if any(c.groups != first.groups for c in convs):
        return "branches with different numbers of groups"
    if any(c.strides != first.strides or c.out_shape != first.out_shape for c in convs):
        return "branches with different strides or sizes"
    if any(not _centred(c) for c in convs):
        return "a branch whose kernel is even or whose padding is not symmetric"
    if any(c.dilations != (1, 1) and c.kernel != (1, 1) for c in convs):
        return "a dilated branch"
    if len(convs) < len(group) and (
        first.strides != (1, 1) or first.in_channels != first.out_channels
    ):
        return "an identity beside a convolution that changes the shape"
    return None


def _centred(conv: ConvLayer) -> bool:
    return all(k % 2 == 1 for k in conv.kernel) and conv.pads == (
        conv.kernel[0] // 2, conv.kernel[1] // 2, conv.kernel[0] // 2, conv.kernel[1] // 2,
    )  # fmt: skip


def _rebuild(
    rewriting: Rewriting, root: Any, adds: list[Any], groups: dict[str, list[_Branch]]
) -> None:
    """Replaces a sum by the sum of merged convolutions and of the terms that stay."""
    shape = rewriting.shape(root.output[0]) or ()
    terms: list[str] = []
    gone: list[Any] = list(adds)
    merged: list[tuple[str, list[_Branch]]] = []
    for source, group in groups.items():
        if len(group) > 1 and any(branch.conv for branch in group):
            merged.append((source, group))
            gone += [node for branch in group for node in branch.nodes]
        else:
            terms += [_kept(branch) for branch in group]
    rewriting.remove(*gone)
    last = len(merged) == 1 and not terms
    for source, group in merged:
        terms.append(_merge(rewriting, source, group, root.output[0] if last else None))
    while len(terms) > 1:
        final = root.output[0] if len(terms) == 2 else None
        total = rewriting.add("Add", terms[:2], shape, output=final)
        terms = [total, *terms[2:]]


def _kept(branch: _Branch) -> str:
    """The value that a term which stays is read from."""
    return str(branch.nodes[-1].output[0]) if branch.nodes else branch.source


def _merge(rewriting: Rewriting, source: str, group: list[_Branch], output: str | None) -> str:
    first = next(branch.conv for branch in group if branch.conv is not None)
    size = tuple(max(b.conv.kernel[a] for b in group if b.conv is not None) for a in (0, 1))
    weight = np.zeros((first.out_channels, first.weight.shape[1], *size))
    bias = np.zeros(first.out_channels)
    for branch in group:
        part, offset = _weights(branch, first)
        margin = [(size[a] - part.shape[2 + a]) // 2 for a in (0, 1)]
        weight += np.pad(part, [(0, 0), (0, 0), *((m, m) for m in margin)])
        bias += offset
    pads = (size[0] // 2, size[1] // 2, size[0] // 2, size[1] // 2)
    return put_conv(rewriting, first, source, weight, bias, first.out_shape, output=output,
                    strides=first.strides, pads=pads, groups=first.groups)  # fmt: skip


def _weights(branch: _Branch, like: ConvLayer) -> tuple[Any, Any]:
    """Kernel and bias of one branch with its normalisation folded in, float64."""
    if branch.conv is not None:
        weight = np.asarray(branch.conv.weight, np.float64)
        bias = np.asarray(branch.conv.bias, np.float64)
    else:
        each = like.in_channels // like.groups
        weight = np.zeros((like.out_channels, each, 1, 1))
        channels = np.arange(like.out_channels)
        weight[channels, channels % each] = 1
        bias = np.zeros(like.out_channels)
    if branch.after is None:
        return weight, bias
    scale, shift = branch.after.scale, branch.after.shift
    return weight * scale[:, None, None, None], shift + bias * scale


REPARAMETERISE = Transform(
    "reparameterise", "Structural re-parameterisation (RepVGG, RepGhost)", "B11, B12", "equal",
    "sums of convolutions, normalisations and the identity of one input", reparameterise,
)  # fmt: skip
