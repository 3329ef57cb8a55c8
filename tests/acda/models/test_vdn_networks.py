"""The networks of variational denoising, and the posterior they describe."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acda import ACDAConv2d
from acda.models import DNet, Posterior, Restorer, SNet, VariationalDenoiser
from tests.support import networks


def small(channels: int = 3) -> VariationalDenoiser:
    denoiser = DNet(channels, 2 * channels, widths=(4, 6, 8))
    return VariationalDenoiser(denoiser, SNet(channels, 2 * channels, width=4, depth=3))


def test_parameters() -> None:
    """D-Net 7.70 M (paper Table 5): two 3×3 convolutions a level down and up, a transposed 2×2; S-Net 0.12 M."""
    widths = (64, 128, 256, 512)
    d_net = 64 * 6 * 9 + 6
    for before, width in zip((3, *widths), widths, strict=False):
        d_net += 9 * (before * width + width**2) + 2 * width
    for deep, width in zip(widths[1:], widths, strict=False):
        d_net += 4 * deep * width + width + 9 * (2 * width * width + width**2) + 2 * width
    with torch.device("meta"):
        network = DNet()
    assert networks.parameters(network) == d_net
    assert round(d_net / 1e6, 2) == 7.70
    s_net = 9 * (3 * 64 + 3 * 64 * 64 + 64 * 6) + 4 * 64 + 6
    assert networks.parameters(SNet()) == s_net
    assert round(s_net / 1e6, 2) == 0.12


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_size(channels: int) -> None:
    network = small(channels)
    networks.assert_takes_any_size(network.denoiser, channels, 2 * channels)
    networks.assert_takes_any_size(network.noise_estimator, channels, 2 * channels)
    networks.assert_takes_any_size(network, channels, channels)
    networks.assert_pads_with_the_border(network, channels, 4)


def test_total_stride_is_that_of_the_levels() -> None:
    with torch.device("meta"):
        assert VariationalDenoiser(DNet(), SNet()).total_stride == 8
        assert VariationalDenoiser(Restorer(out_channels=6, residual=False), SNet()).total_stride == 4


def test_parts_of_an_image_give_what_the_whole_gives() -> None:
    networks.assert_moves_with_the_image(small(), 3, stride=4, halo=24)


def test_d_net_is_what_it_says() -> None:
    network = networks.randomised(DNet(widths=(4, 6)))
    image = torch.rand(2, 3, 8, 12, dtype=torch.float64)

    def level(x: Tensor, name: str) -> Tensor:
        for number in (0, 2):
            layer = network.get_submodule(f"{name}.{number}")
            x = F.leaky_relu(F.conv2d(x, layer.weight, layer.bias, padding=1), 0.2)
        return x

    fine = level(image, "down.0")
    coarse = level(F.avg_pool2d(fine, 2), "down.1")
    up = network.get_submodule("up.0")
    together = torch.cat([F.conv_transpose2d(coarse, up.weight, up.bias, stride=2), fine], 1)
    last = network.get_submodule("last")
    expected = F.conv2d(level(together, "merge.0"), last.weight, last.bias, padding=1)
    torch.testing.assert_close(network(image), expected)


def test_s_net_is_five_convolutions_with_leaky_relu() -> None:
    network = networks.randomised(SNet())
    x = image = torch.rand(1, 3, 6, 7, dtype=torch.float64)
    for number in (0, 2, 4, 6, 8):
        layer = network.get_submodule(f"body.{number}")
        x = F.conv2d(x if number == 0 else F.leaky_relu(x, 0.2), layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(network(image), x)


def test_names_of_weights_stay() -> None:
    levels = {f"{name}.{number}" for name in ("down.0", "down.1", "down.2", "merge.0", "merge.1") for number in (0, 2)}
    denoiser = {f"denoiser.{name}" for name in levels | {"up.0", "up.1", "last"}}
    estimator = {f"noise_estimator.body.{number}" for number in (0, 2, 4)}
    assert {key.rsplit(".", 1)[0] for key in small().state_dict()} == denoiser | estimator


class Constant(nn.Module):
    """Gives the same numbers everywhere, one a channel."""

    total_stride = 1

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = torch.tensor(values)

    def forward(self, image: Tensor) -> Tensor:
        return self.values.view(1, -1, 1, 1).expand(len(image), -1, *image.shape[2:])


def test_posterior_has_its_parts_in_their_places() -> None:
    network = VariationalDenoiser(Constant(1, 2, 3, 4), Constant(5, 6, 7, 8))
    posterior = network.posterior(torch.zeros(1, 2, 1, 1))
    assert isinstance(posterior, Posterior)
    assert posterior._fields == ("residual", "log_m2", "log_alpha", "log_beta")
    assert [part.flatten().tolist() for part in posterior] == [[1, 2], [3, 4], [5, 6], [7, 8]]


def test_only_the_logarithms_are_bounded() -> None:
    network = VariationalDenoiser(Constant(-50, 50, -50, 50), Constant(-50, 50, 50, -50))
    posterior = network.posterior(torch.zeros(1, 2, 1, 1))
    least, most = math.log(1e-8), math.log(1e4)
    expected = [[-50, 50], [least, most], [least, most], [most, least]]
    for part, values in zip(posterior, expected, strict=True):
        assert part.flatten().tolist() == pytest.approx(values)


def test_result_is_the_mean_and_not_clamped() -> None:
    image = torch.rand(2, 3, 5, 6)
    network = small()
    torch.testing.assert_close(network(image), image - network.posterior(image).residual)
    network = VariationalDenoiser(Constant(2, -2, 0, 0), SNet(1, 4))
    assert network(torch.zeros(1, 2, 1, 1)).flatten().tolist() == [-2, 2]


def test_the_noise_estimator_is_only_needed_to_train() -> None:
    network = small()
    network.noise_estimator = nn.Identity()
    assert network(torch.rand(1, 3, 8, 8)).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("conv", [None, ACDAConv2d])
def test_the_mean_gets_better_the_longer_it_trains(conv: type[nn.Module] | None) -> None:
    if conv is None:
        denoiser = DNet(widths=(8, 12))
    else:
        denoiser = Restorer(3, 6, conv, width=4, inner_width=6, depth=1, kernel_size=3, residual=False)
    network = VariationalDenoiser(denoiser, SNet(width=8))
    image = networks.smooth_image(3)
    noisy = image + 0.1 * torch.randn_like(image)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(20):
        posterior = network.posterior(noisy)
        error = (noisy - posterior.residual - image).square()
        variance = posterior.log_beta - posterior.log_alpha
        loss = (error + (posterior.log_m2 + 5).square() + (variance + 5).square()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_networks_of_other_channels_are_refused() -> None:
    image = torch.rand(1, 3, 8, 8)
    message = "{} must give 6 channels, twice the image's, got 3: set out_channels=6"
    with pytest.raises(ValueError, match=message.format("Restorer")):
        VariationalDenoiser(Restorer(width=4, inner_width=4, depth=1), SNet())(image)
    with pytest.raises(ValueError, match=message.format("SNet")):
        VariationalDenoiser(DNet(widths=(4,)), SNet(3, 3)).posterior(image)


def test_no_level_is_refused() -> None:
    with pytest.raises(ValueError, match="widths must have at least one number, got none"):
        DNet(widths=())
