"""Strided 1×1 convolutions of few channels, in whose backward oneDNN writes past the end of its memory."""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import acda
from acda.ops.subsampled import SubsampledConv2d, is_broken, mend
from tests.support.documents import ROOT

PROGRAM = """
import torch
from torch import nn
import acda
from acda.models import AdResNet
from lit_modules import ClassificationTask

layer, channels = {made}
for _ in range(300):
    image = torch.randn(16, 8, 8, channels).permute(0, 3, 1, 2)  # as of an array whose channels stand last
    layer(image).square().sum().backward()
"""
SMALL = "plain_depths=(1, 1), dynamic_depths=(1, 1), widths=(4,) * 4, small_images=True"
FOREIGN = "nn.Sequential(nn.Conv2d(3, 4, 1, stride=2), nn.Flatten(1), nn.Linear(64, 10))"


@pytest.mark.slow
@pytest.mark.parametrize(
    "made",
    [
        f"AdResNet(10, 1, {SMALL}), 1",
        f"AdResNet(10, 3, {SMALL}), 3",
        "acda.ACDAConv2d(4, 4, 3, 2, 1, hidden_channels=4, generator_kernel_sizes=(1, 1)), 4",
        "acda.DDFConv2d(4, 4, 3, 2, 1), 4",
        f"ClassificationTask({FOREIGN}, 10), 3",
    ],
)
def test_no_memory_is_broken(made: str) -> None:
    """It is on one thread: some calls are enough to abort the process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(made=made)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        {"stride": 2},
        {"stride": (1, 3), "bias": False},
        {"stride": 3, "groups": 2, "padding": 2},
        {"stride": 2, "padding": (0, 1), "padding_mode": "reflect"},
    ],
)
def test_mended_convolutions_give_the_same(arguments: dict[str, Any]) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 6, 1, **arguments).double()
    mended = nn.Conv2d(4, 6, 1, **arguments).double()
    mended.load_state_dict(plain.state_dict())
    mend(mended)
    assert type(mended) is SubsampledConv2d
    image = torch.randn(2, 4, 7, 6, dtype=torch.float64)
    results: list[list[Tensor]] = []
    for conv in (plain, mended):
        x = image.clone().requires_grad_()
        y = conv(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, *conv.parameters()])])
    for expected, found in zip(*results, strict=True):
        assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_what_is_not_broken_stays_as_it_is() -> None:
    class Own(nn.Conv2d):
        pass

    network = nn.Sequential(
        nn.Conv2d(16, 4, 1, stride=2), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, stride=2), Own(4, 4, 1, stride=2)
    )
    mend(network)
    assert [type(module) for module in network] == [nn.Conv2d, nn.Conv2d, nn.Conv2d, Own]
    assert [is_broken(module) for module in network] == [False, False, False, True]


def test_networks_of_the_project_are_mended() -> None:
    sizes = {"plain_depths": (1, 1), "dynamic_depths": (1, 1), "small_images": True}
    for width, mended in ((4, 5), (16, 0)):
        network = acda.models.AdResNet(None, widths=(width,) * 4, **sizes)
        assert not any(is_broken(module) for module in network.modules())
        assert sum(isinstance(module, SubsampledConv2d) for module in network.modules()) == mended
