"""GoogLeNet, Inception-v3 and Inception-v4: parallel branches, concatenated.

A branch is a row of convolutions (channels, kernel[, stride]); a pooling may stand first.
"""

from collections.abc import Sequence
from typing import Any

from lwprof.zoo.blocks import Net, Value, classifier, conv_bn
from lwprof.zoo.registry import network

# GoogLeNet, table 1: 1×1 | 3×3 reduce, 3×3 | 5×5 reduce, 5×5 | pool projection; 0: max pool
_GOOGLENET: tuple[Any, ...] = (
    (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), 3,
    (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128), 2,
    (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
)  # fmt: skip
_ROW, _COLUMN = (1, 7), (7, 1)
_POOLS = {"avg": ("avg", 3, 1, 1), "max": ("max", 3, 2, 0), "max1": ("max", 3, 1, 1)}


def _branch(net: Net, x: Value, layers: Sequence[Any], valid: bool) -> Value:
    """Convolutions in a row; a stride of 2 has no padding, and neither has 3×3 if ``valid``."""
    for layer in layers:
        if isinstance(layer, str):
            x = net.pool(x, *_POOLS[layer])
        else:
            out, kernel, stride = (*layer, 1)[:3]
            pad = 0 if stride == 2 or (valid and kernel == 3) else None
            x = conv_bn(net, x, out, kernel, stride, pad=pad)
    return x


def branches(net: Net, x: Value, *rows: Sequence[Any], valid: bool = False) -> Value:
    """All ``rows`` on the same input, concatenated; a tuple of rows at a row's end forks it."""
    results: list[Value] = []
    for row in rows:
        if row and isinstance(row[-1], list):
            stem = _branch(net, x, row[:-1], valid)
            results += [_branch(net, stem, [layer], valid) for layer in row[-1]]
        else:
            results.append(_branch(net, x, row, valid))
    return net.concat(results)


@network("googlenet")
def googlenet(net: Net) -> Value:
    """Table 1 of arXiv 1409.4842."""
    net.eps = 1e-3
    x = net.pool(conv_bn(net, net.image(), 64, 7, 2), "max", 3, 2, ceil=True)
    x = net.pool(_branch(net, x, [(64, 1), (192, 3)], False), "max", 3, 2, ceil=True)
    for entry in _GOOGLENET:
        if isinstance(entry, int):
            x = net.pool(x, "max", entry, 2, ceil=True)
            continue
        one, reduce3, three, reduce5, wide, projection = entry
        x = branches(net, x, [(one, 1)], [(reduce3, 1), (three, 3)],
                     [(reduce5, 1), (wide, 3)], ["max1", (projection, 1)])  # fmt: skip
    return classifier(net, x)


@network("inception_v3", resolution=299)
def inception_v3(net: Net) -> Value:
    """Table 1 of arXiv 1512.00567."""
    net.eps = 1e-3
    x = _branch(net, net.image(), [(32, 3, 2), (32, 3)], True)
    x = _branch(net, x, [(64, 3), "max", (80, 1)], False)
    x = _branch(net, x, [(192, 3), "max"], True)
    for projection in (32, 64, 64):
        x = branches(net, x, [(64, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)],
                     ["avg", (projection, 1)])  # fmt: skip
    x = branches(net, x, [(384, 3, 2)], [(64, 1), (96, 3), (96, 3, 2)], ["max"])
    for c in (128, 160, 160, 192):
        x = branches(net, x, [(192, 1)], [(c, 1), (c, _ROW), (192, _COLUMN)],
                     [(c, 1), (c, _COLUMN), (c, _ROW), (c, _COLUMN), (192, _ROW)],
                     ["avg", (192, 1)])  # fmt: skip
    x = branches(net, x, [(192, 1), (320, 3, 2)],
                 [(192, 1), (192, _ROW), (192, _COLUMN), (192, 3, 2)], ["max"])  # fmt: skip
    for _ in range(2):
        fork = [(384, (1, 3)), (384, (3, 1))]
        x = branches(net, x, [(320, 1)], [(384, 1), fork], [(448, 1), (384, 3), fork],
                     ["avg", (192, 1)])  # fmt: skip
    return classifier(net, x)


@network("inception_v4", resolution=299)
def inception_v4(net: Net) -> Value:
    """Figures 3 to 9 of arXiv 1602.07261."""
    net.eps = 1e-3
    x = _branch(net, net.image(), [(32, 3, 2), (32, 3)], True)
    x = _branch(net, x, [(64, 3)], False)
    x = branches(net, x, ["max"], [(96, 3, 2)])
    x = branches(net, x, [(64, 1), (96, 3)], [(64, 1), (64, _ROW), (64, _COLUMN), (96, 3)],
                 valid=True)  # fmt: skip
    x = branches(net, x, [(192, 3, 2)], ["max"])
    for _ in range(4):
        x = branches(net, x, [(96, 1)], [(64, 1), (96, 3)], [(64, 1), (96, 3), (96, 3)],
                     ["avg", (96, 1)])  # fmt: skip
    x = branches(net, x, [(384, 3, 2)], [(192, 1), (224, 3), (256, 3, 2)], ["max"])
    for _ in range(7):
        x = branches(net, x, [(384, 1)], [(192, 1), (224, _ROW), (256, _COLUMN)],
                     [(192, 1), (192, _COLUMN), (224, _ROW), (224, _COLUMN), (256, _ROW)],
                     ["avg", (128, 1)])  # fmt: skip
    x = branches(net, x, [(192, 1), (192, 3, 2)],
                 [(256, 1), (256, _ROW), (320, _COLUMN), (320, 3, 2)], ["max"])  # fmt: skip
    for _ in range(3):
        fork = [(256, (1, 3)), (256, (3, 1))]
        x = branches(net, x, [(256, 1)], [(384, 1), fork],
                     [(384, 1), (448, (3, 1)), (512, (1, 3)), fork], ["avg", (256, 1)])  # fmt: skip
    return classifier(net, x)
