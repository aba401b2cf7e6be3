"""Attention and its transformer layers. Tokens are (batch, length, width)."""

from __future__ import annotations

from dataclasses import replace

from lwprof.zoo.builder import Net
from lwprof.zoo.graph import Value


def attention(net: Net, x: Value, heads: int) -> Value:
    """Multi-head self-attention: one product for q, k and v, softmax(q kᵀ / √d) v, one product."""
    batch, length, width = x.shape
    size = width // heads
    split = net.split(net.linear(x, 3 * width), (width, width, width), axis=2)
    q, k, v = (net.reshape(part, (batch, length, heads, size)) for part in split)
    q, v = net.transpose(q, (0, 2, 1, 3)), net.transpose(v, (0, 2, 1, 3))
    k = net.transpose(k, (0, 2, 3, 1))
    scores = net.op("MatMul", [q, k], (batch, heads, length, length))
    scores = net.op("Mul", [scores, net.number(size**-0.5)], scores.shape)
    weights = net.op("Softmax", [scores], scores.shape, 1 / length, axis=-1)
    y = net.op("MatMul", [weights, v], v.shape, 0.5 * v.power)
    y = net.reshape(net.transpose(y, (0, 2, 1, 3)), x.shape)
    return net.linear(y, width)


def feed_forward(net: Net, x: Value, hidden: int, act: str) -> Value:
    """Two fully connected layers on each token."""
    return net.linear(net.act(net.linear(x, hidden), act), x.shape[-1])


def pre_norm_layer(
    net: Net, x: Value, heads: int, hidden: int, act: str = "gelu", eps: float = 1e-6
) -> Value:
    """Transformer layer that normalises before attention and before the fully connected part."""
    x = net.add(x, attention(net, net.layer_norm(x, eps), heads))
    return net.add(x, feed_forward(net, net.layer_norm(x, eps), hidden, act))


def post_norm_layer(net: Net, x: Value, heads: int, hidden: int, act: str = "relu") -> Value:
    """Transformer layer of the first paper: normalises each sum."""
    x = net.layer_norm(net.add(x, attention(net, x, heads)), 1e-5)
    return net.layer_norm(net.add(x, feed_forward(net, x, hidden, act)), 1e-5)


def learned(net: Net, shape: tuple[int, ...], label: str) -> Value:
    """A learned tensor that is an operand itself, such as an embedding of positions."""
    return replace(Value(net.parameter(net.draw(shape, 0.02), label), shape), power=4e-4)
