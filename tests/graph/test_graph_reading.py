"""Reading: where models come from, what is fixed on the way, and what stays the same."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from lwprof.errors import ModelError
from lwprof.profiler.graph import read

RELU = ("(float[1,3] x) => (float[1,3] y)", "y = Relu(x)")


def test_path_bytes_proto_and_stdin_give_the_same_graph(parse, tmp_path, monkeypatch):
    model = parse(*RELU)
    data = model.SerializeToString(deterministic=True)
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    graphs = [read(path), read(str(path)), read(data), read(model), read("-")]
    assert {graph.sha256 for graph in graphs} == {hashlib.sha256(data).hexdigest()}
    assert {graph.operators[0].name for graph in graphs} == {"Relu_0"}
    assert [graph.name for graph in graphs] == ["net", "net", "model", "agraph", "stdin"]
    assert graphs[0].size_bytes == len(data)


def test_the_callers_model_is_left_alone(parse):
    model = parse("(float[N,3] x) => (float[N,3] y)", "y = Relu(x)")
    before = model.SerializeToString(deterministic=True)
    read(model, batch=4)
    assert model.SerializeToString(deterministic=True) == before


def test_an_unknown_name_suggests_neighbours(tmp_path):
    (tmp_path / "squeezenet.onnx").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"did you mean squeezenet\.onnx"):
        read(tmp_path / "squeezenet.onx")


def test_initialisers_listed_as_inputs_are_weights():
    weight = numpy_helper.from_array(np.ones((3, 2), np.float32), "w")
    values = [helper.make_tensor_value_info("x", 1, [1, 3]),
              helper.make_tensor_value_info("w", 1, [3, 2])]  # fmt: skip
    end = [helper.make_tensor_value_info("y", 1, [1, 2])]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", values, end, [weight])
    old = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 7)], ir_version=3)
    found = read(old)
    assert [tensor.name for tensor in found.inputs] == ["x"]
    assert [value.name for value in found.proto.graph.input] == ["x"]
    assert found.tensors["w"].constant
    assert found.params == 6
    assert found.notes == ()
    new = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    assert "taken as weights" in read(new).notes[0]


def test_nodes_out_of_order_are_sorted(parse):
    model = parse("(float[2] x) => (float[2] y)", "a = Relu(x)\nb = Sigmoid(a)\ny = Tanh(b)")
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend([nodes[2], nodes[0], nodes[1]])
    found = read(model)
    assert [operator.type for operator in found.operators] == ["Relu", "Sigmoid", "Tanh"]
    assert "sorted" in found.notes[0]


def test_local_functions_are_inlined():
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    inner = helper.make_function("f", "Twice", ["a"], ["b"], [
        helper.make_node("MatMul", ["a", "a"], ["m"]), helper.make_node("Relu", ["m"], ["b"]),
    ], opsets)  # fmt: skip
    nodes = [helper.make_node("Twice", ["x"], ["h"], domain="f"),
             helper.make_node("Twice", ["h"], ["y"], domain="f")]  # fmt: skip
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, [4, 4])],
                              [helper.make_tensor_value_info("y", 1, [4, 4])])  # fmt: skip
    model = helper.make_model(graph, functions=[inner], opset_imports=opsets, ir_version=8)
    found = read(model)
    assert [operator.type for operator in found.operators] == ["MatMul", "Relu"] * 2
    assert found.macs == 2 * 4**3
    assert not found.proto.functions
    onnx.checker.check_model(found.proto, full_check=True)


def test_large_constants_survive_inlining():
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    inner = helper.make_function("f", "F", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])],
                                 opsets)  # fmt: skip
    big = numpy_helper.from_array(np.arange(4096 * 4, dtype=np.float32).reshape(4, 4096))
    nodes = [helper.make_node("F", ["x"], ["h"], domain="f"),
             helper.make_node("Constant", [], ["w"], value=big),
             helper.make_node("MatMul", ["h", "w"], ["y"])]  # fmt: skip
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, [1, 4])],
                              [helper.make_tensor_value_info("y", 1, [1, 4096])])  # fmt: skip
    found = read(helper.make_model(graph, functions=[inner], opset_imports=opsets, ir_version=8))
    stored = [n for n in found.proto.graph.node if n.op_type == "Constant"]
    assert numpy_helper.to_array(stored[0].attribute[0].t)[3, 4095] == 4 * 4096 - 1
    assert found.params == 4 * 4096


def test_unnamed_and_doubly_named_nodes_get_names_of_their_own(parse):
    model = parse("(float[2] x) => (float[2] y)", "a = Relu(x)\nb = Relu(a)\nc = Relu(b)\n"
                  "y = Relu(c)")  # fmt: skip
    for place, name in enumerate(["", "same", "same", "Relu_0"]):
        model.graph.node[place].name = name
    names = [operator.name for operator in read(model).operators]
    assert len(set(names)) == 4
    assert names[1] == "same"
    assert [node.name for node in read(model).proto.graph.node] == names


class TestShapes:
    def test_a_free_batch_becomes_one_and_is_noted(self, graph_of):
        graph = graph_of("(float[N,3,8,8] x) => (float[N,3,8,8] y)", "y = Relu(x)")
        assert graph.inputs[0].shape == (1, 3, 8, 8)
        assert graph.outputs[0].shape == (1, 3, 8, 8)
        assert "dimension 0 ('N') set to 1" in graph.notes[0]

    def test_batch_fills_a_free_and_replaces_a_fixed_dimension(self, graph_of):
        for first in ("N", "1"):
            graph = graph_of(f"(float[{first},3] x) => (float[{first},3] y)", "y = Relu(x)",
                             batch=8)  # fmt: skip
            assert graph.outputs[0].shape == (8, 3)
            assert graph.proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value == 8
            assert graph.notes == ()

    def test_a_symbol_bound_once_is_bound_everywhere(self, graph_of):
        graph = graph_of(
            "(float[L,4] a, float[L,4] b) => (float[L,4] y)", "y = Add(a, b)",
            input_shapes={"a": (7, 4)},
        )  # fmt: skip
        assert graph.inputs[1].shape == (7, 4)

    def test_a_given_shape_wins_over_the_file(self, graph_of):
        graph = graph_of("(float[1,3,224,224] x) => (float[1,3,1,1] y)",
                         "y = GlobalAveragePool(x)", input_shapes={"x": (2, 3, 64, 64)})  # fmt: skip
        assert graph.outputs[0].shape == (2, 3, 1, 1)
        assert graph.key != graph_of("(float[1,3,224,224] x) => (float[1,3,1,1] y)",
                                     "y = GlobalAveragePool(x)").key  # fmt: skip

    def test_another_open_dimension_is_asked_for(self, graph_of):
        with pytest.raises(ModelError, match=r"input 'x'.*--input-shape x=1,3,\?,8"):
            graph_of("(float[N,3,H,8] x) => (float[N,3,H,8] y)", "y = Relu(x)")

    def test_contradicting_shapes_are_refused(self, graph_of):
        with pytest.raises(ModelError, match="contradict"):
            graph_of("(float[L,4] a, float[L,4] b) => (float[L,4] y)", "y = Add(a, b)",
                     input_shapes={"a": (7, 4), "b": (8, 4)})  # fmt: skip

    def test_an_unknown_input_and_a_wrong_rank_are_refused(self, graph_of):
        with pytest.raises(ModelError, match=r"no input 'z': its inputs are 'x'"):
            graph_of(*RELU, input_shapes={"z": (1,)})
        with pytest.raises(ModelError, match="has 2 dimensions"):
            graph_of(*RELU, input_shapes={"x": (1, 2, 3)})

    def test_a_batch_that_a_reshape_forbids_is_refused(self, graph_of):
        with pytest.raises(ModelError, match=r"Reshape .* \(with batch 3: the file may only fit"):
            graph_of("(float[1,4] x) => (float[1,4] y)", "y = Reshape(x, s)", batch=3,
                     weights="<int64[2] s = {1,4}>")  # fmt: skip

    def test_shape_programs_of_exporters_are_followed(self, graph_of):
        body = """
        s = Shape(x)
        h = Gather(s, two)
        f = Cast<to=1>(h)
        g = Div(f, half)
        i = Floor(g)
        j = Cast<to=7>(i)
        k = Unsqueeze(j, zero)
        lead = Slice(s, zero, stop)
        t = Concat<axis=0>(lead, k, k)
        y = Resize(x, , , t)
        """
        graph = graph_of(
            "(float[1,3,8,8] x) => (float[A,B,C,D] y)", body,
            weights="<int64 two = {2}, float half = {0.5}, int64[1] zero = {0}, int64[1] stop = {2}>",
        )  # fmt: skip
        assert graph.tensors["y"].shape == (1, 3, 16, 16)
        assert graph.unknown == ()
        assert graph.tensors["t"].constant


class TestControlFlow:
    CONV = "float[1,2,4,4]"

    def test_if_costs_its_dearer_branch(self, graph_of):
        body = """
        y = If (c) <
          then_branch = t () => (float[2,2] p) { p = MatMul(x, x) },
          else_branch = e () => (float[2,2] q) { h = MatMul(x, x) q = MatMul(h, x) }
        >
        """
        graph = graph_of("(float[2,2] x, bool c) => (float[2,2] y)", body)
        assert graph.macs == 16

    def test_a_decided_if_costs_the_branch_taken_and_gives_its_shape(self, graph_of):
        body = """
        y = If (c) <
          then_branch = t () => (float[A,B] p) { p = MatMul(x, x) },
          else_branch = e () => (float[A] q) { q = ReduceSum<keepdims=0>(x, a) }
        >
        """
        graph = graph_of("(float[2,2] x) => (float[A,B] y)", body,
                         weights="<bool c = {1}, int64[1] a = {0}>")  # fmt: skip
        assert graph.macs == 8
        assert graph.tensors["y"].shape == (2, 2)

    LOOP = """
    y = Loop (n, go, x) <
      body = b (int64 i, bool ci, float[A,B] h) => (bool co, float[A,B] k)
      { co = Identity(ci) k = MatMul(h, w) }
    >
    """

    def test_a_counted_loop_costs_its_trips(self, graph_of):
        graph = graph_of("(float[2,3] x) => (float[A,B] y)", self.LOOP,
                         weights="<int64 n = {5}, bool go = {1}, "
                                 "float[3,3] w = {1,2,3,4,5,6,7,8,9}>")  # fmt: skip
        assert graph.macs == 5 * 2 * 3 * 3
        assert graph.tensors["y"].shape == (2, 3)
        assert graph.params == 9

    def test_a_loop_that_decides_as_it_runs_is_unknown(self, graph_of):
        graph = graph_of("(float[2,3] x, int64 n) => (float[A,B] y)", self.LOOP,
                         weights="<bool go = {1}, float[3,3] w = {1,2,3,4,5,6,7,8,9}>")  # fmt: skip
        assert graph.macs is None
        assert graph.unknown == ("Loop",)

    def test_a_loop_that_multiplies_nothing_costs_nothing(self, graph_of):
        body = """
        y = Loop (n, , x) <
          body = b (int64 i, bool ci, float[A] h) => (bool co, float[A] k)
          { co = Identity(ci) k = Relu(h) }
        >
        """
        assert graph_of("(float[3] x, int64 n) => (float[A] y)", body).macs == 0

    def test_a_loop_that_grows_its_value_keeps_its_shape_open(self, graph_of):
        body = """
        y = Loop (n, , x) <
          body = b (int64 i, bool ci, float[A] h) => (bool co, float[C] k)
          { co = Identity(ci) k = Concat<axis=0>(h, h) }
        >
        """
        graph = graph_of("(float[3] x) => (float[B] y)", body, weights="<int64 n = {2}>")
        assert graph.tensors["y"].elements is None

    def test_scan_costs_its_extent(self, graph_of):
        body = """
        s, y = Scan <num_scan_inputs=1,
          body = b (float[2,2] h, float[2,2] e) => (float[2,2] k, float[2,2] o)
          { k = MatMul(h, e) o = Identity(k) }
        > (z, x)
        """
        graph = graph_of("(float[2,2] z, float[6,2,2] x) => (float[2,2] s, float[6,2,2] y)", body)
        assert graph.macs == 6 * 8
        assert graph.unknown == ()


class TestExternalData:
    def model(self, location, length=None, offset=None):
        weight = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "w")
        raw = weight.raw_data
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=location)
        for key, value in (("length", length), ("offset", offset)):
            if value is not None:
                weight.external_data.add(key=key, value=str(value))
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", 1, [1, 3])],
                                  [helper.make_tensor_value_info("y", 1, [1, 2])], [weight])  # fmt: skip
        opsets = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8), raw

    def test_it_is_read_from_beside_the_model(self, tmp_path):
        model, raw = self.model("weights/w.bin", offset=4)
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights" / "w.bin").write_bytes(b"skip" + raw)
        path = tmp_path / "m.onnx"
        path.write_bytes(model.SerializeToString())
        graph = read(path)
        found = numpy_helper.to_array(graph.proto.graph.initializer[0])
        assert found.tolist() == [[0, 1], [2, 3], [4, 5]]
        assert graph.size_bytes == path.stat().st_size + len(raw)
        before = graph.sha256
        (tmp_path / "weights" / "w.bin").write_bytes(b"skip" + raw[::-1])
        assert read(path).sha256 != before

    @pytest.mark.parametrize("location", ["../w.bin", "/etc/hostname", "link", "a/../../w.bin"])
    def test_nothing_outside_the_folder_is_read(self, tmp_path, location):
        folder = tmp_path / "inner"
        folder.mkdir()
        (tmp_path / "w.bin").write_bytes(b"\0" * 24)
        (folder / "link").symlink_to(tmp_path / "w.bin")
        model, _ = self.model(location)
        path = folder / "m.onnx"
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ModelError, match="outside the model's folder"):
            read(path)

    def test_a_length_that_is_not_the_weights_is_refused(self, tmp_path):
        model, raw = self.model("w.bin", length=2**40)
        (tmp_path / "w.bin").write_bytes(raw)
        path = tmp_path / "m.onnx"
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ModelError, match="needs 24 bytes"):
            read(path)

    def test_bytes_have_no_folder(self):
        with pytest.raises(ModelError, match="give the path"):
            read(self.model("w.bin")[0])


def renamed(model, suffix):
    """The model with every value and node renamed, weights and bodies included."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graphs = [copy.graph]
    while graphs:
        graph = graphs.pop()
        for item in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            item.name += suffix
        for node in graph.node:
            node.name = f"{suffix}{node.name}" if node.name else ""
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    names[place] = name + suffix if name else ""
            graphs.extend(a.g for a in node.attribute if a.HasField("g"))
    return copy


def anonymous(graph):
    """Everything that is counted, without names."""
    costs = [(o.type, o.macs, o.params, o.bytes_read, o.bytes_written) for o in graph.operators]
    return (costs, graph.macs, graph.params, graph.peak_memory_bytes,
            graph.peak_memory_inplace_bytes, graph.unknown, len(graph.generated),
            [tensor.shape for tensor in graph.outputs])  # fmt: skip


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
@settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(suffix=st.text(min_size=1, max_size=5))
def test_names_change_nothing(light_folder, name, suffix):
    model = onnx.load(light_folder / f"light_{name}.onnx")
    suffix = suffix.encode("utf-8", "replace").decode()
    assert anonymous(read(renamed(model, suffix))) == anonymous(read(model))


def test_half_precision_is_counted_in_its_own_bytes(graph_of):
    body = "y = MatMul(x, w)"
    graph = graph_of("(float16[2,4] x, float16[4,3] w) => (float16[2,3] y)", body)
    assert (graph.operators[0].bytes_read, graph.operators[0].bytes_written) == (40, 12)
    assert graph.tensors["y"].dtype == "float16"


def test_four_bit_values_are_packed(graph_of):
    graph = graph_of("(int4[5] x, float s) => (float[5] y)", "y = DequantizeLinear(x, s)", opset=21)
    assert graph.operators[0].bytes_read == 3 + 4


def test_sequences_and_optionals_are_read(graph_of):
    graph = graph_of("(seq(float[2,3]) s, int64 i) => (float[2,3] y)", "y = SequenceAt(s, i)")
    assert graph.inputs[0].kind == "sequence"
    assert graph.operators[0].bytes_read is None
    assert graph.unknown == ("SequenceAt",)


@pytest.mark.parametrize("opset", [7, 10])  # the mask has a known size since opset 10
def test_a_result_nobody_reads_costs_nothing(graph_of, opset):
    graph = graph_of("(float[2,3] x) => (float[2,3] y)", "y, mask = Dropout(x)", opset=opset)
    assert graph.unknown == ()
    assert graph.peak_memory_bytes == 48


def test_old_opsets_are_read(parse):
    for opset in (7, 8, 9, 11, 13, 18, 21):
        model = parse("(float[1,3] x) => (float[1,3] y)", "y = Relu(x)", opset=opset)
        assert read(model).operators[0].type == "Relu"
