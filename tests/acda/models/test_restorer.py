"""The paper's restoration network: its size, its layers, images of any size."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acda import ACDAConv2d
from acda.layers import ConvFactory
from acda.models import Restorer
from tests.support import networks


def small(conv: ConvFactory = ACDAConv2d, **options: object) -> Restorer:
    return Restorer(conv=conv, **{"width": 4, "inner_width": 6, "depth": 2, "kernel_size": 3, **options})


def test_parameters() -> None:
    """Paper Table 5: 1.97 M."""
    with torch.device("meta"):
        network = Restorer()
    assert networks.parameters(network) == 1_959_603
    assert pytest.approx(1.97, rel=0.006) == 1_959_603 / 1e6


@pytest.mark.parametrize("kernel_size", [3, 5, 7])
def test_parameters_with_plain_convolutions(kernel_size: int) -> None:
    """Four 3×3 convolutions with biases; 8 blocks of two 1×1 and one l×l, with the scale and shift of three norms."""
    ends = (3 * 16 + 16 * 3 + 2 * 64 * 64) * 9 + 16 + 2 * 64 + 3
    block = 2 * 256 * 128 + 128 * 128 * kernel_size**2 + 2 * (128 + 128 + 256)
    with torch.device("meta"):
        network = Restorer(conv=nn.Conv2d, kernel_size=kernel_size)
    assert networks.parameters(network) == ends + 8 * block


def test_blocks_are_dynamic_at_a_quarter_of_the_resolution() -> None:
    with torch.device("meta"):
        network = Restorer()
        features = network.head(torch.empty(1, 3, 32, 48))
    assert features.shape == (1, 256, 8, 12)
    convolutions = [module for module in network.modules() if isinstance(module, ACDAConv2d)]
    assert len(convolutions) == len(network.body) == 8
    assert {(c.in_channels, c.out_channels, c.kernel_size) for c in convolutions} == {(128, 128, (7, 7))}


@pytest.mark.parametrize(("out_channels", "residual"), [(3, True), (3, False), (6, False)])
def test_images_of_any_size(out_channels: int, residual: bool) -> None:
    network = small(out_channels=out_channels, residual=residual)
    networks.assert_takes_any_size(network, 3, out_channels)
    networks.assert_pads_with_the_border(network, 3, 4)


def test_parts_of_an_image_give_what_the_whole_gives() -> None:
    """Half a filter and half the generator's are a pixel of the features each, so 4 pixels of the image a block."""
    networks.assert_moves_with_the_image(small(), 3, stride=4, halo=2 * 4 + 12)


@pytest.mark.parametrize("residual", [True, False])
def test_is_what_it_says(residual: bool) -> None:
    network = networks.randomised(small(nn.Conv2d, residual=residual))
    state = network.state_dict()

    def conv(x: Tensor, name: str, padding: int = 1) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), padding=padding)

    def norm(x: Tensor, name: str) -> Tensor:
        values = (state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *values)

    image = torch.rand(2, 3, 8, 12, dtype=torch.float64)
    x = conv(F.pixel_unshuffle(conv(image, "head.0"), 2), "head.2")
    x = F.pixel_unshuffle(x, 2)
    for block in ("body.0", "body.1"):
        hidden = norm(conv(x, f"{block}.conv1", 0), f"{block}.bn1").relu()
        hidden = norm(conv(hidden, f"{block}.conv2"), f"{block}.bn2").relu()
        x = (x + norm(conv(hidden, f"{block}.conv3", 0), f"{block}.bn3")).relu()
    x = F.pixel_shuffle(conv(F.pixel_shuffle(x, 2), "tail.1"), 2)
    expected = conv(x, "tail.3") + (image if residual else 0)
    torch.testing.assert_close(network(image), expected, rtol=1e-10, atol=1e-10)


def test_names_of_weights_stay() -> None:
    names = {key.rsplit(".", 1)[0] for key in small(nn.Conv2d, depth=1).state_dict()}
    block = {f"body.0.{name}{number}" for name in ("conv", "bn") for number in (1, 2, 3)}
    assert names == {"head.0", "head.2", "tail.1", "tail.3"} | block


@pytest.mark.parametrize("conv", [nn.Conv2d, ACDAConv2d])
def test_restores_better_the_longer_it_trains(conv: ConvFactory) -> None:
    networks.assert_learns(small(conv), 3)


def test_starts_as_what_changes_nothing() -> None:
    image = torch.rand(2, 3, 9, 14)
    assert torch.equal(small()(image), image)
    assert not torch.equal(small(residual=False)(image), image)


def test_bottlenecks_start_as_their_shortcuts() -> None:
    network, x = small(), torch.rand(2, 64, 5, 6)
    assert torch.equal(network.body(x), x)


def test_residual_of_other_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="residual must be False where in_channels=3 and out_channels=6 differ"):
        Restorer(out_channels=6)
