"""LeNet and the single layer: shapes, parameters by formula, convolution as an argument."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from acda import ACDAConv2d
from acda.layers import ConvFactory
from acda.models import LeNet, SingleLayer


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_lenet_has_lecuns_size() -> None:
    """LeCun's widths on 3×32×32: 5×5 filters, 16 maps of 5×5 before the linear layers."""
    convolutions = (3 * 6 * 25 + 6) + (6 * 16 * 25 + 16)
    linear = (16 * 25 * 120 + 120) + (120 * 84 + 84) + (84 * 10 + 10)
    model = LeNet()
    assert parameters(model) == convolutions + linear == 62_006
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("conv", [nn.Conv2d, ACDAConv2d, partial(ACDAConv2d, num_atoms=2, norm=None)])
@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("padding", [0, 2])
def test_lenet_shapes(conv: ConvFactory, kernel_size: int, padding: int) -> None:
    model = LeNet(7, 1, 21, conv, (3, 4), kernel_size, padding, (9, 8))
    image = torch.randn(2, 1, 21, 21, requires_grad=True)
    logits = model(image)
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert image.grad is not None
    assert all(p.grad is not None for p in model.parameters())


def test_lenet_replaces_both_convolutions() -> None:
    model = LeNet(conv=ACDAConv2d)
    assert [type(m) for m in model.features if not isinstance(m, nn.ReLU | nn.MaxPool2d)] == [ACDAConv2d] * 2
    assert not any(isinstance(m, nn.Conv2d) for m in model.features)


@pytest.mark.parametrize(("kernel_size", "padding", "least"), [(5, 0, 16), (3, 0, 10), (3, 1, 4), (7, 2, 10)])
def test_least_image_of_lenet(kernel_size: int, padding: int, least: int) -> None:
    arguments: dict[str, Any] = {"in_channels": 1, "kernel_size": kernel_size, "padding": padding}
    model = LeNet(**arguments, image_size=least)
    assert model(torch.zeros(1, 1, least, least)).shape == (1, 10)
    message = rf"image_size must be at least {least} with kernel_size={kernel_size}, padding={padding}, got {least - 1}"
    with pytest.raises(ValueError, match=message):
        LeNet(**arguments, image_size=least - 1)


@pytest.mark.parametrize("kernel_size", [3, 7])
@pytest.mark.parametrize("conv", [nn.Conv2d, ACDAConv2d])
def test_single_layer_keeps_the_size(conv: ConvFactory, kernel_size: int) -> None:
    model = SingleLayer(conv, kernel_size)
    assert model(torch.randn(2, 1, 9, 12)).shape == (2, 1, 9, 12)


def test_single_layer_parameters() -> None:
    """Plain 7×7: 49 and a bias. Adaptive, m·K = 6·18: six weights, a bias, the generator's convolutions and norms."""
    assert parameters(SingleLayer()) == 50
    generator = 64 + 64 * 108 * 9 + 2 * 64 + 2 * 108
    assert parameters(SingleLayer(ACDAConv2d)) == 6 + 1 + generator
