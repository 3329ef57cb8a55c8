"""Layers as standard operators, in PyTorch's programs and in ONNX, at sizes that were not traced."""

from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import nn
from torch.export import Dim, ExportedProgram

import acda
from acda.ops import standard
from tests.support import oracle
from tests.support.networks import randomised
from tests.support.oracle import Geometry, error_ratio
from tests.support.problems import random_problem

ANY_SIZE = {"input": {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}}


@pytest.fixture(scope="module")
def every_layer() -> nn.Module:
    """All layers one after the other; noise on what is drawn as zero, such as the offsets of a deformable one."""
    torch.manual_seed(0)
    network = nn.Sequential(
        acda.ACDAConv2d(2, 4, 5, stride=2, padding=3, dilation=2, num_atoms=2, hidden_channels=4),
        acda.ACDAConv2d(4, 4, 3, padding=1, groups=2, padding_mode="reflect", norm=None, hidden_channels=4),
        acda.CondConv2d(4, 3, 3, padding=1, num_experts=2),
        acda.DynamicConv2d(3, 3, 3, num_kernels=2),
        acda.DynamicFilterConv2d(3, 2, 3, padding=1, hidden_channels=4),
        acda.DDFConv2d(2, 3, 3, padding=1),
        acda.Involution2d(3, 3, 3, stride=2, padding=1),
        acda.DeformConv2d(3, 2, 3, padding=1),
    )
    return randomised(network).float()


@pytest.fixture(scope="module")
def program(every_layer: nn.Module) -> ExportedProgram:
    with torch.no_grad():
        program = torch.export.export(every_layer, (torch.rand(2, 2, 20, 24),), dynamic_shapes=ANY_SIZE)
        return program.run_decompositions(acda.standard_operators())


@pytest.mark.parametrize(("geometry", "groups"), [
    (Geometry(padding=1), 1),
    (Geometry(stride=(2, 1), padding=(0, 2)), 1),
    (Geometry(stride=3, padding=3, dilation=(1, 2)), 2),
])  # fmt: skip
def test_the_adaptive_convolution_by_its_definition(geometry: Geometry, groups: int) -> None:
    problem = random_problem(in_channels=4, geometry=geometry, groups=groups)
    y = standard.adaptive_conv2d(*problem.tensors, *geometry.pairs(3), groups)
    truth = oracle.adaptive_conv2d(*problem.tensors, geometry)
    torch.testing.assert_close(y, truth, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 20, 24), (3, 27, 21)])
def test_a_program_without_operators_of_ours(
    every_layer: nn.Module, program: ExportedProgram, size: tuple[int, int, int]
) -> None:
    targets = {str(node.target) for node in program.graph.nodes}
    assert not any(target.startswith("acda.") for target in targets)
    images, *sides = size
    x = torch.rand(images, 2, *sides)
    with torch.no_grad():
        assert error_ratio(program.module()(x), every_layer(x)) < 1e-5


@pytest.mark.slow
def test_onnx_at_any_size(every_layer: nn.Module, program: ExportedProgram, tmp_path: Path) -> None:
    torch.onnx.export(program, f=tmp_path / "layers.onnx", input_names=["x"], verbose=False, external_data=False)
    session = onnxruntime.InferenceSession(tmp_path / "layers.onnx", providers=["CPUExecutionProvider"])
    for images, *sides in [(1, 20, 24), (3, 27, 21)]:
        x = torch.rand(images, 2, *sides)
        (y,) = session.run(None, {"x": x.numpy()})
        with torch.no_grad():
            assert error_ratio(torch.from_numpy(y), every_layer(x)) < 1e-5
