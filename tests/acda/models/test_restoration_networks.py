"""Padding, and the published restoration networks of plain convolutions: VDSR, DnCNN, SRResNet."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acda.models import VDSR, DnCNN, SRResNet
from acda.models.padding import pad_to_multiple
from tests.support import networks


@pytest.mark.parametrize("size", [(1, 1), (3, 8), (8, 4), (9, 5)])
@pytest.mark.parametrize(("mode", "like"), [("constant", "constant"), ("replicate", "edge")])
def test_padding_is_numpys(size: tuple[int, int], mode: str, like: str) -> None:
    image = torch.rand(2, 3, *size)
    below, right = (-side % 4 for side in size)
    expected = np.pad(image, ((0, 0), (0, 0), (0, below), (0, right)), mode=like)
    np.testing.assert_array_equal(pad_to_multiple(image, 4, mode), expected)


@pytest.mark.parametrize("shape", [(0, 3, 5, 7), (2, 0, 5, 7), (2, 3, 0, 7), (2, 3, 5, 0)])
@pytest.mark.parametrize("mode", ["constant", "replicate", "reflect"])
def test_nothing_can_be_padded(shape: tuple[int, ...], mode: str) -> None:
    padded = pad_to_multiple(torch.zeros(shape), 4, mode)
    assert padded.shape == tuple(shape[:2]) + tuple(-(-side // 4) * 4 for side in shape[2:])


def test_multiple_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple must be at least 1, got 0"):
        pad_to_multiple(torch.zeros(1, 1, 2, 2), 0)


def chain(ends: int, width: int, depth: int) -> int:
    """Parameters of a chain of 3×3 convolutions: weights, and biases of the first and the last."""
    return 9 * (2 * ends * width + (depth - 2) * width**2) + width + ends


@pytest.mark.parametrize("channels", [1, 3])
def test_parameters(channels: int) -> None:
    """VDSR: 18 more biases. DnCNN-B: 18 norms instead. SRResNet: as in the figure of its publication, 16 blocks."""
    assert networks.parameters(VDSR(channels)) == chain(channels, 64, 20) + 18 * 64
    assert networks.parameters(DnCNN(channels)) == chain(channels, 64, 20) + 18 * 2 * 64
    first = 16 * channels * 64 * 81 + 64 + 1
    blocks = 16 * (2 * (64 * 64 * 9 + 2 * 64) + 1) + 64 * 64 * 9 + 2 * 64
    last = 2 * (64 * 256 * 9 + 256 + 1) + 64 * channels * 81 + channels
    assert networks.parameters(SRResNet(channels)) == first + blocks + last


# A small one of each, its total stride, and pixels that it looks around.
SMALL: dict[str, tuple[Callable[..., nn.Module], int, int]] = {
    "VDSR": (lambda channels=3: VDSR(channels, width=6, depth=4), 1, 4),
    "DnCNN": (lambda channels=3: DnCNN(channels, width=6, depth=4), 1, 4),
    "SRResNet": (lambda channels=3: SRResNet(channels, width=6, depth=1), 4, 48),
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_size(name: str, channels: int) -> None:
    make, stride, _ = SMALL[name]
    networks.assert_takes_any_size(make(channels), channels, channels)
    if stride > 1:
        networks.assert_pads_with_the_border(make(channels), channels, stride)


@pytest.mark.parametrize("name", SMALL)
def test_parts_of_an_image_give_what_the_whole_gives(name: str) -> None:
    make, stride, halo = SMALL[name]
    networks.assert_moves_with_the_image(make(), 3, stride, halo)


@pytest.mark.parametrize("name", SMALL)
def test_restores_better_the_longer_it_trains(name: str) -> None:
    networks.assert_learns(SMALL[name][0](), 3)


def layers(network: nn.Module) -> Callable[..., Tensor]:
    """Applies a convolution of a network, by its name."""
    state = network.state_dict()

    def conv(x: Tensor, name: str) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, state.get(f"{name}.bias"), padding=weight.shape[-1] // 2)

    return conv


def normed(network: nn.Module, x: Tensor, name: str) -> Tensor:
    state = network.state_dict()
    return F.batch_norm(x, *(state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")))


def test_vdsr_adds_what_it_predicts() -> None:
    network = networks.randomised(VDSR(width=5, depth=3))
    conv, image = layers(network), torch.rand(2, 3, 8, 12, dtype=torch.float64)
    expected = image + conv(conv(conv(image, "body.0").relu(), "body.2").relu(), "body.4")
    torch.testing.assert_close(network(image), expected)


def test_dncnn_subtracts_what_it_predicts() -> None:
    network = networks.randomised(DnCNN(width=5, depth=3))
    conv, image = layers(network), torch.rand(2, 3, 8, 12, dtype=torch.float64)
    hidden = normed(network, conv(conv(image, "body.0").relu(), "body.2"), "body.3").relu()
    torch.testing.assert_close(network(image), image - conv(hidden, "body.5"))


def test_srresnet_is_what_it_says() -> None:
    network = networks.randomised(SRResNet(width=4, depth=1))
    conv, image = layers(network), torch.rand(2, 3, 8, 12, dtype=torch.float64)

    def prelu(x: Tensor, name: str) -> Tensor:
        return torch.where(x > 0, x, network.state_dict()[f"{name}.weight"] * x)

    first = prelu(conv(F.pixel_unshuffle(image, 4), "head.1"), "head.2")
    hidden = prelu(normed(network, conv(first, "body.0.conv1"), "body.0.bn1"), "body.0.prelu")
    hidden = first + normed(network, conv(hidden, "body.0.conv2"), "body.0.bn2")
    x = first + normed(network, conv(hidden, "body.1"), "body.2")
    x = prelu(F.pixel_shuffle(conv(x, "tail.0"), 2), "tail.2")
    x = prelu(F.pixel_shuffle(conv(x, "tail.3"), 2), "tail.5")
    torch.testing.assert_close(network(image), conv(x, "tail.6"))


@pytest.mark.parametrize("network", [VDSR, DnCNN])
def test_weights_are_drawn_by_the_method_of_he(network: type[Any]) -> None:
    convolutions = [module for module in network().body if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 20
    for convolution in convolutions:
        fan_in = 9 * convolution.in_channels
        assert float(convolution.weight.detach().std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
        assert convolution.bias is None or not convolution.bias.any()


@pytest.mark.parametrize("network", [VDSR, DnCNN])
def test_one_convolution_is_refused(network: type[Any]) -> None:
    with pytest.raises(ValueError, match="depth must be at least 2, got 1"):
        network(depth=1)
