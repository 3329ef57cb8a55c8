from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

import acda
from acda.analysis import receptive_halo
from acda.inference import ALL_POSES, FLIP, Pose, apply_tiled, self_ensemble
from acda.models import AdResNet, CrowdCounter

Factory = Callable[[], nn.Module]


def randomised(network: nn.Module) -> nn.Module:
    """Running statistics and all parameters at random, as after training, for evaluation in double precision."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return network.double().eval()


def counter(**arguments: object) -> nn.Module:
    backbone = AdResNet(None, plain_depths=(1, 1), dynamic_depths=(1, 1), widths=(4, 4, 4, 8), **arguments)
    return CrowdCounter(backbone, widths=(8, 8, 4), output_activation="none")


# What is known by hand: each convolution of side l at stride s adds (l // 2) · s pixels.
KNOWN: dict[str, tuple[Factory, int, int]] = {
    "one pixel": (lambda: nn.Conv2d(3, 4, 1), 1, 0),
    "7x7": (lambda: nn.Conv2d(3, 4, 7, padding=3), 1, 3),
    "wide": (lambda: nn.Conv2d(3, 4, (1, 9), padding=(0, 4)), 1, 4),
    "dilated": (lambda: nn.Conv2d(3, 4, 5, padding=6, dilation=3), 1, 6),
    "two": (lambda: nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1)), 1, 3),
    "dead": (lambda: nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), Zero(), nn.ReLU()), 1, 2),
    "reflecting": (lambda: nn.Conv2d(3, 4, 7, padding=3, padding_mode="reflect"), 1, 3),
    "acda": (lambda: acda.ACDAConv2d(3, 4, 7, padding=3), 1, 3),
    "acda, wide generator": (lambda: acda.ACDAConv2d(3, 4, 3, padding=1, generator_kernel_sizes=(5, 5)), 1, 4),
    "strided": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, padding=1)), 2, 4),
}


class Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0 * x


@pytest.mark.parametrize("name", KNOWN)
def test_halo_is_what_is_known_by_hand(name: str) -> None:
    make, align, expected = KNOWN[name]
    assert receptive_halo(make(), 3, align) == expected


def test_halo_leaves_the_network_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    receptive_halo(network)
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    "make",
    [
        lambda: acda.CondConv2d(3, 4, 3, padding=1),
        lambda: acda.DeformConv2d(3, 4, 3, padding=1),
        lambda: counter(conv=acda.CondConv2d),
    ],
)
def test_networks_that_read_the_whole_image_have_no_halo(make: Factory) -> None:
    with pytest.raises(ValueError, match="reads the image as a whole"):
        receptive_halo(make(), 3, 1 if not isinstance(make(), CrowdCounter) else 32)


@pytest.mark.parametrize("size", [(96, 160), (131, 259), (64, 64), (31, 200)])
@pytest.mark.parametrize("small_images", [False, True])
def test_tiles_of_a_counter_give_the_whole(size: tuple[int, int], small_images: bool) -> None:
    network = randomised(counter(small_images=small_images))
    stride = network.total_stride
    halo = receptive_halo(network, 3, stride)
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        whole = network(image)
        tiled = apply_tiled(network, image, 2 * stride, halo, stride, 4)
    assert whole.shape == tiled.shape == (2, 1, -(-size[0] // 4), -(-size[1] // 4))
    assert whole.std() > 0
    torch.testing.assert_close(tiled, whole, rtol=1e-10, atol=1e-12)


def test_a_smaller_halo_would_not_do() -> None:
    """The test above can fail: with a halo smaller by one step the tiles differ from the whole."""
    network = randomised(nn.Sequential(nn.Conv2d(3, 4, 7, padding=3), nn.Conv2d(4, 4, 3, padding=1)))
    image = torch.randn(1, 3, 40, 40, dtype=torch.float64)
    halo = receptive_halo(network)
    with torch.no_grad():
        whole = network(image)
        torch.testing.assert_close(apply_tiled(network, image, 16, halo), whole)
        assert not torch.allclose(apply_tiled(network, image, 16, halo - 1), whole)


def test_small_images_are_not_cut() -> None:
    seen: list[tuple[int, ...]] = []

    def network(image: Tensor) -> Tensor:
        seen.append(tuple(image.shape))
        return image

    apply_tiled(network, torch.zeros(1, 1, 8, 30), 16, 4)
    assert seen == [(1, 1, 8, 20), (1, 1, 8, 18)]
    apply_tiled(network, torch.zeros(1, 1, 8, 16), 16, 4)
    assert seen[2:] == [(1, 1, 8, 16)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tile": 30, "halo": 32, "align": 32}, "tile must be a positive multiple of 32.* got 30"),
        ({"tile": 0, "halo": 0}, "tile must be a positive multiple of 1.* got 0"),
        ({"tile": 32, "halo": 8, "align": 32}, "halo must be a multiple of 32.* got 8"),
        ({"tile": 32, "halo": 0, "output_stride": 2}, r"gives \[32, 32\] instead of \[16, 16\] for a tile of 32×32"),
    ],
)
def test_what_cannot_be_tiled_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        apply_tiled(nn.Identity(), torch.zeros(1, 3, 64, 64), **arguments)


@pytest.mark.parametrize("poses", [FLIP, ALL_POSES])
def test_ensemble_of_an_equivariant_network_changes_nothing(poses: tuple[Pose, ...]) -> None:
    image = torch.randn(2, 3, 9, 13, dtype=torch.float64)
    mean = partial(nn.functional.avg_pool2d, kernel_size=3, stride=1, padding=1)
    torch.testing.assert_close(self_ensemble(mean, image, poses), mean(image), rtol=1e-12, atol=1e-14)


def test_ensemble_averages_what_each_pose_gives() -> None:
    """A network that shifts to the right: turned back, its eight outputs are shifts in all four directions."""
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 2] = 8
    output = self_ensemble(lambda x: x.roll(1, 3), image)
    expected = torch.zeros(5, 5)
    expected[1, 2] = expected[3, 2] = expected[2, 1] = expected[2, 3] = 2
    torch.testing.assert_close(output[0, 0], expected)
    assert len(set(ALL_POSES)) == 8


def test_every_part_is_told_of_when_it_is_done() -> None:
    told: list[tuple[int, int]] = []
    apply_tiled(lambda x: x, torch.zeros(1, 1, 9, 13), 4, 0, after_tile=lambda *numbers: told.append(numbers))
    assert told == [(number, 12) for number in range(1, 13)]
