"""The nine real networks inside onnx: parameters as published, MACs by their layer tables."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from lwprof.profiler.graph import read

# Learned parameters; running statistics of batch normalisation are not learned.
PUBLISHED = {
    "bvlc_alexnet": 60_965_224,  # BVLC reference model: grouped convolutions, 227-style fc6
    "vgg19": 143_667_240,  # torchvision vgg19
    "squeezenet": 1_235_496,  # torchvision squeezenet1_1, which this file is
    "resnet50": 25_557_032,  # torchvision resnet50
    "densenet121": 7_978_856,  # torchvision densenet121
    "inception_v1": 6_998_552,  # BVLC GoogLeNet without the auxiliary classifiers
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_equal_the_published_count(light_folder, name):
    assert read(light_folder / f"light_{name}.onnx").params == PUBLISHED[name]


def conv(results: int, channels: int, kernel: int, groups: int = 1, bias: bool = False) -> int:
    return results * (channels // groups) * kernel * kernel + (results if bias else 0)


def test_zfnet_equals_its_layer_table(light_folder):
    # 96-256-512-512-512 convolutions with biases, then 4096, 1024 and 1000 over 512·6·6.
    layers = [(96, 3, 7), (256, 96, 5), (512, 256, 3), (512, 512, 3), (512, 512, 3)]
    total = sum(conv(*layer, bias=True) for layer in layers)
    total += (512 * 6 * 6 + 1) * 4096 + (4096 + 1) * 1024 + (1024 + 1) * 1000
    assert read(light_folder / "light_zfnet512.onnx").params == total == 87_250_536


# Ioffe & Szegedy (2015), as converted from Caffe2: 1×1, 3×3 (reduced), double 3×3 (reduced),
# pool projection; 0 where a branch passes through.
INCEPTION_V2 = [
    (192, 64, (64, 64), (64, 96), 32), (256, 64, (64, 96), (64, 96), 64),
    (320, 0, (128, 160), (64, 96), 0), (576, 224, (64, 96), (96, 128), 128),
    (576, 192, (96, 128), (96, 128), 128), (576, 160, (128, 160), (128, 160), 96),
    (576, 96, (128, 192), (160, 192), 96), (576, 0, (128, 192), (192, 256), 0),
    (1024, 352, (192, 320), (160, 224), 128), (1024, 352, (192, 320), (192, 224), 128),
]  # fmt: skip


def test_inception_v2_equals_its_module_table(light_folder):
    sizes = [(64, 3, 7), (64, 64, 1), (192, 64, 3)]
    for channels, one, (reduce3, three), (reduce33, double), pool in INCEPTION_V2:
        sizes += [(one, channels, 1)] if one else []
        sizes += [(reduce3, channels, 1), (three, reduce3, 3)]
        sizes += [(reduce33, channels, 1), (double, reduce33, 3), (double, double, 3)]
        sizes += [(pool, channels, 1)] if pool else []
    weights = sum(conv(*size) for size in sizes)
    affine = 2 * sum(results for results, _, _ in sizes)
    expected = weights + affine + (1024 + 1) * 1000
    assert read(light_folder / "light_inception_v2.onnx").params == expected == 11_194_984


def test_shufflenet_equals_its_stage_table(light_folder):
    # ShuffleNet v1 0.5×, four groups: bottlenecks of a quarter … here as wide as the stage.
    total, channels = conv(24, 3, 3, bias=True) + 2 * 24, 24
    for width, blocks in ((136, 4), (272, 8), (544, 4)):
        for block in range(blocks):
            # The strided block's branch is concatenated with what was pooled.
            out = width - channels if block == 0 else width
            middle = out if width == 136 and block == 0 else (channels if block == 0 else width)
            total += conv(middle, channels, 1, 4) + conv(middle, middle, 3, middle)
            total += conv(out, middle, 1, 4) + 2 * (2 * middle + out)
            channels = width
    total += (544 + 1) * 1000
    assert read(light_folder / "light_shufflenet.onnx").params == total == 1_393_320


def test_macs_of_vgg19_equal_its_layer_table(light_folder):
    total, channels, extent = 0, 3, 224
    for width, repeats in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(repeats):
            total += width * extent * extent * channels * 9
            channels = width
        extent //= 2
    total += 512 * 7 * 7 * 4096 + 4096 * 4096 + 4096 * 1000
    graph = read(light_folder / "light_vgg19.onnx")
    assert graph.macs == total == 19_632_062_464
    assert graph.unknown == ()


def test_macs_of_resnet50_equal_its_layer_table(light_folder):
    # Version 1.5, as torchvision's: the stride is in a block's 3×3.
    total, channels, extent = 64 * 112 * 112 * 3 * 49, 64, 56
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            total += extent * extent * channels * width
            extent //= stride if block == 0 else 1
            area = extent * extent
            total += area * (width * width * 9 + width * width * 4)
            total += area * channels * width * 4 if block == 0 else 0
            channels = width * 4
    total += 2048 * 1000
    graph = read(light_folder / "light_resnet50.onnx")
    assert total == graph.macs


def test_size_counts_generated_weights_as_if_stored(light_folder):
    path = light_folder / "light_resnet50.onnx"
    graph = read(path)
    statistics = 2 * 26_560  # running mean and variance of all normalisations
    stored = 4 * (graph.params + statistics)
    # Values that the file does store, and the graph itself, are in the file's own bytes.
    assert stored < graph.size_bytes < stored + 2 * path.stat().st_size


def test_peak_memory_of_vgg19_is_its_widest_pair(light_folder):
    # The second convolution reads 64×224×224 floats and writes as many.
    graph = read(light_folder / "light_vgg19.onnx")
    assert graph.peak_memory_bytes == 2 * 64 * 224 * 224 * 4
    assert graph.peak_memory_inplace_bytes == 2 * 64 * 224 * 224 * 4


def test_reading_vendor_operators_leaves_the_registry_as_it_was() -> None:
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")],
            "vendor",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 8))],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("a", "b"))],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=8,
    )
    before = {(s.domain, s.name) for s in onnx.defs.get_all_schemas()}
    assert read(model).outputs[0].shape == (1, 8)
    assert {(s.domain, s.name) for s in onnx.defs.get_all_schemas()} == before
