"""Laws of keys: renaming, reordering attributes, spelling padding, cutting and reading again."""

from __future__ import annotations

import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_world import conv, kernels_of, keys_alone, model, node, random

from lwprof.errors import LwprofError
from lwprof.profiler.kernels import Workload, workload

names = st.lists(
    st.text("abcdefghijklmnopqrstuvwxyz_0123456789/.:", min_size=1, max_size=12),
    min_size=12,
    max_size=12,
    unique=True,
)


def small_network(label):
    nodes = [
        conv(label[0], label[1], label[2], name=label[3]),
        node("Relu", [label[1]], [label[4]], name=label[5]),
        node("MaxPool", [label[4]], [label[6]], kernel_shape=[2, 2], strides=[2, 2], name=label[7]),
        node("GlobalAveragePool", [label[6]], [label[8]], name=label[9]),
        node("Flatten", [label[8]], [label[10]], name=label[11]),
    ]
    return model(nodes, {label[0]: (1, 16, 8, 8)}, {label[10]: (1, 16)},
                 {label[2]: random(16, 16, 3, 3)})  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(names)
def test_names_do_not_count(label):
    plain = small_network([f"n{i}" for i in range(12)])
    expected = [k.workload.key for k in kernels_of(plain, "extended")[1]]
    assert [k.workload.key for k in kernels_of(small_network(label), "extended")[1]] == expected


@settings(max_examples=60, deadline=None)
@given(
    extent=st.integers(3, 40),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    mode=st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]),
)
def test_automatic_padding_is_the_padding_it_means(extent, kernel, stride, dilation, mode):
    reach = (kernel - 1) * dilation + 1
    if mode == "VALID":
        if reach > extent:
            return
        pads = [0, 0]
    else:
        # From ONNX's definition: the output has ceil(extent / stride) elements.
        total = max((-(-extent // stride) - 1) * stride + reach - extent, 0)
        half, rest = total // 2, total - total // 2
        pads = [half, rest] if mode == "SAME_UPPER" else [rest, half]
    shapes = [(1, 2, extent, extent), (3, 2, kernel, kernel)]
    common = {"strides": [stride] * 2, "dilations": [dilation] * 2}
    automatic = workload("Conv", shapes, {**common, "auto_pad": mode})
    explicit = workload("Conv", shapes, {**common, "pads": [pads[0]] * 2 + [pads[1]] * 2})
    assert automatic.key == explicit.key


@settings(max_examples=80, deadline=None)
@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    data=st.data(),
)
def test_slices_that_take_the_same_are_one_workload(shape, data):
    axis = data.draw(st.integers(0, len(shape) - 1))
    extent = shape[axis]
    start = data.draw(st.integers(-extent - 2, extent + 2))
    end = data.draw(st.integers(-extent - 2, extent + 2))
    step = data.draw(st.sampled_from([1, 2, -1, -2]))
    taken = list(range(extent))[slice(start, end, step)]
    if not taken:
        return

    def cut(start, end, axis, step):
        one = (1,)
        values = {1: [start], 2: [end], 3: [axis], 4: [step]}
        return workload("Slice", [shape, one, one, one, one], constant=values)

    found = cut(start, end, axis, step)
    assert found.key == cut(start, end, axis - len(shape), step).key
    assert tuple(found.description["outputs"][0]["shape"])[axis] == len(taken)


@settings(max_examples=60, deadline=None)
@given(
    left=st.lists(st.integers(1, 4), min_size=0, max_size=4),
    right=st.lists(st.integers(1, 4), min_size=0, max_size=4),
    op=st.sampled_from(["Add", "Mul", "Max", "Equal"]),
)
def test_swapping_the_sides_of_a_commutative_operator_changes_nothing(left, right, op):
    try:
        one = workload(op, [left, right])
    except LwprofError:
        return  # they do not broadcast
    assert one.key == workload(op, [right, left]).key


attributes = st.fixed_dictionaries(
    {},
    optional={
        "strides": st.lists(st.integers(1, 2), min_size=2, max_size=2),
        "pads": st.lists(st.integers(0, 1), min_size=4, max_size=4),
        "dilations": st.lists(st.integers(1, 2), min_size=2, max_size=2),
    },
)


@settings(max_examples=12, deadline=None)
@given(
    batch=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 16]),
    extent=st.integers(5, 14),
    kernel=st.integers(1, 3),
    given_attributes=attributes,
    tail=st.sampled_from([[], ["Relu"], ["Sigmoid"], ["Add"], ["Add", "Relu"]]),
    level=st.sampled_from(["all", "extended"]),
)
def test_a_cut_out_convolution_is_fused_into_itself(
    batch, groups, extent, kernel, given_attributes, tail, level
):
    if "Add" in tail and level == "extended":
        return  # only the blocked layout fuses a sum on this processor
    channels = 32
    shapes = [(batch, channels, extent, extent), (32, channels // groups, kernel, kernel)]
    own = {**given_attributes, "group": groups}
    plain = workload("Conv", shapes, own)
    if "Add" in tail:
        if groups == 2:
            return  # ONNX Runtime blocks no such grouped convolution, so fuses no sum
        shapes.append(tuple(plain.description["outputs"][0]["shape"]))
    fused = workload(["Conv", *tail], shapes, [own, *({} for _ in tail)])
    assert fused.key in keys_alone(fused, level)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_description_gives_one_clear_error_or_a_model(data):
    """Whatever is changed in a stored description, nothing but our own errors comes out."""
    seed = data.draw(st.sampled_from(SEEDS))
    description = seed.description
    for _ in range(data.draw(st.integers(1, 3))):
        _damage(description, data)
    try:
        proto = Workload.from_description(description).to_model()
    except LwprofError as error:
        assert str(error)
    else:
        assert isinstance(proto, onnx.ModelProto)


SEEDS = [
    workload(["Conv", "Add", "Relu"], [(1, 8, 4, 4), (8, 8, 1, 1), (1, 8, 4, 4)]),
    workload("Slice", [(4, 4), (1,), (1,)], constant={1: [0], 2: [2]}),
    workload("Gather", [(9, 4), (3,)], dtype=["float32", "int64"], constant={1: [0, 1, 2]}),
    workload("LSTM", [(5, 1, 4), (1, 16, 4), (1, 16, 4)]),
    workload("Resize", [(1, 2, 3, 3), None, (4,)], constant={2: [1.0, 1.0, 2.0, 2.0]}),
]
_JUNK = st.one_of(
    st.none(), st.integers(-(2**70), 2**70), st.booleans(), st.text(max_size=5),
    st.floats(), st.lists(st.integers(-3, 99), max_size=5), st.builds(dict), st.builds(lambda: {"floats": 3}),
    st.builds(lambda: {"tensor": {"dtype": "float32", "shape": [2**39]}}),
)  # fmt: skip


def _damage(value, data):
    """Replaces, removes or adds something at a random place."""
    while isinstance(value, (dict, list)) and value:
        places = list(value) if isinstance(value, dict) else list(range(len(value)))
        place = data.draw(st.sampled_from(places))
        if isinstance(value[place], (dict, list)) and data.draw(st.booleans()):
            value = value[place]
            continue
        action = data.draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "replace":
            value[place] = data.draw(_JUNK)
        elif action == "remove":
            del value[place]
        elif isinstance(value, dict):
            value[data.draw(st.text(max_size=5))] = data.draw(_JUNK)
        else:
            value.append(data.draw(_JUNK))
        return
