"""Two hundred tiny operators: nothing but the cost of calling kernels."""

from lwprof.zoo.builder import Net, Value
from lwprof.zoo.registry import network

_SIDE, _ROUNDS = 16, 20


@network("tiny_ops", resolution=None, classes=None)
def tiny_ops(net: Net) -> Value:
    """Twenty rounds of ten operators on 16×16 matrices.

    Every round has tensors of its own, so that nothing folds or merges, and no two
    neighbours are a pair that ONNX Runtime fuses.
    """
    shape = (_SIDE, _SIDE)
    before = x = net.input(shape)

    def tensor(*extents: int) -> str:
        return net.parameter(net.draw(extents, 0.3))

    for i in range(_ROUNDS):
        with net.scope(f"round{i}"):
            y = net.op("Sigmoid", [x], shape)
            y = net.op("Mul", [y, tensor(*shape)], shape)
            y = net.op("Add", [y, before], shape)
            y = net.op("Relu", [y], shape)
            y = net.op("Concat", [y, x], (_SIDE, 2 * _SIDE), axis=1)
            y = net.op("Gemm", [y, tensor(2 * _SIDE, _SIDE), tensor(_SIDE)], shape)
            y = net.op("Sub", [y, tensor(*shape)], shape)
            y = net.op("Transpose", [y], shape, perm=(1, 0))
            y = net.op("Tanh", [y], shape)
            before, x = x, net.op("Add", [y, tensor(*shape)], shape)
    return x
