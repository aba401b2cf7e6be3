"""Packing of weights and layouts, plans and the artifact file: no TVM needed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
from hypothesis import given
from hypothesis import strategies as st

from lwprof.profiler.kernels.onnxruntime import Kernel
from lwprof.profiler.kernels.workload import workload
from lwprof.profiler.tvm import TvmArtifact, TvmKernel, computes
from lwprof.profiler.tvm import artifact as artifacts
from lwprof.profiler.tvm.computes import ConvShape
from lwprof.profiler.tvm.templates.plan import Plan, divisors


def shape_of(
    weight: tuple[int, int, int, int], groups: int, block: int, in_block: int
) -> ConvShape:
    return ConvShape(weight, (1, 1), (0, 0, 0, 0), (1, 1), groups, block, in_block)


@given(
    each=st.integers(1, 20),
    ins=st.integers(1, 20),
    groups=st.integers(1, 3),
    block=st.sampled_from([4, 8, 16]),
)
def test_packed_weights_hold_every_weight_once_and_zeros_elsewhere(
    each: int, ins: int, groups: int, block: int
) -> None:
    outs = each * groups
    weight = numpy.arange(1, outs * ins * 2 + 1, dtype="float32").reshape(outs, ins, 2, 1)
    shape = shape_of((outs, ins, 2, 1), groups, block, block)
    packed = computes.pack_conv(weight, shape)
    step = computes.reduction_step(ins, block)
    per_group = computes.blocks(each, block)
    for o, i, y in numpy.ndindex(outs, ins, 2):
        chunk = (o // each) * per_group + (o % each) // block
        assert packed[chunk, i // step, y, 0, i % step, o % each % block] == weight[o, i, y, 0]
    assert numpy.count_nonzero(packed) == weight.size


@given(channels=st.integers(1, 300), block=st.sampled_from([4, 8, 16]))
def test_the_inner_reduction_never_reads_a_padded_lane(channels: int, block: int) -> None:
    step = computes.reduction_step(channels, block)
    assert channels % step == 0
    assert block % step == 0


@given(groups=st.sampled_from([2, 4, 6]), merged=st.sampled_from([1, 2]))
def test_merged_groups_compute_the_same(groups: int, merged: int) -> None:
    random = numpy.random.default_rng(0)
    weight = random.standard_normal((groups * 3, 2, 1, 1)).astype("float32")
    data = random.standard_normal(groups * 2).astype("float32")

    def apply(numbers: numpy.ndarray, parts: int) -> numpy.ndarray:
        each = numbers.shape[0] // parts
        ins = numbers.shape[1]
        return numpy.concatenate(
            [
                numbers[g * each : (g + 1) * each, :, 0, 0] @ data[g * ins : (g + 1) * ins]
                for g in range(parts)
            ]
        )

    wide = computes.merge_groups(weight, groups, merged)
    numpy.testing.assert_allclose(apply(wide, groups // merged), apply(weight, groups), rtol=1e-6)


@given(
    size=st.integers(1, 40),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    pads=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.integers(1, 2),
)
def test_output_size_counts_the_windows_that_fit(
    size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int
) -> None:
    shape = ConvShape(
        (1, 1, kernel, 1), (stride, 1), (pads[0], 0, pads[1], 0), (dilation, 1), 1, 4, 4
    )
    span = (kernel - 1) * dilation + 1
    starts = [s for s in range(0, size + sum(pads), stride) if s + span <= size + sum(pads)]
    rows = shape.output_size(size, 1)[0]
    assert max(rows, 0) == len(starts)
    if starts:
        assert shape.input_size(rows, 1)[0] == starts[-1] + span


def test_plans_say_in_one_word_what_they_do() -> None:
    plan = Plan("conv2d_nchwc", {"ocb": 4, "rows": 1, "cols": 7, "border": "all"})
    assert plan.label == "conv2d_nchwc[4x1x7,all]"


@given(number=st.integers(1, 500), most=st.integers(1, 40))
def test_divisors_are_all_and_largest_first(number: int, most: int) -> None:
    expected = [d for d in range(1, most + 1) if number % d == 0]
    assert divisors(number, most) == expected[::-1]


def stored(folder: Path) -> tuple[TvmArtifact, Path]:
    library = folder / "model.so"
    library.write_bytes(b"code")
    work = workload("Relu", inputs=[(1, 8)])
    kernel = Kernel(work, ("Relu",), ("r",), "0:relu", "Relu", "compute")
    made = TvmArtifact(
        library=library,
        sha256=artifacts.digest(library),
        kernels=(TvmKernel(kernel, "relu", (("float32", (1, 8)),), "template:elementwise[inner]"),),
        inputs=("x",),
        outputs=("y",),
        target="x86_64:generic",
        tvm="0.27",
        compile_s=1.5,
        tuned_s=0.0,
        tiles={"a": "template:elementwise[inner]"},
    )
    path = folder / "model.json"
    artifacts.save(made, path)
    return made, path


def test_a_stored_artifact_comes_back_equal(tmp_path: Path) -> None:
    made, path = stored(tmp_path)
    found = artifacts.load(path)
    assert found == made
    assert found is not None
    assert found.from_cache
    assert found.schedule == "templates"


def test_a_damaged_artifact_is_compiled_again_not_trusted(tmp_path: Path) -> None:
    made, path = stored(tmp_path)
    made.library.write_bytes(b"other code")
    assert artifacts.load(path) is None
    _, path = stored(tmp_path)
    for text in ("", "{}", "[]", path.read_text()[:-20], '{"schema": "lwprof.tvm-artifact/0"}'):
        path.write_text(text)
        assert artifacts.load(path) is None
    _, path = stored(tmp_path)
    document = json.loads(path.read_text())
    document["library"] = "../../etc/passwd"
    path.write_text(json.dumps(document))
    assert artifacts.load(path) is None
