import re
import sys
import time
from io import StringIO

import pytest
import torch
from torch import Tensor, nn

from acda import CondConv2d
from acda.inference import ALL_POSES, FLIP, Pose
from acda.models import Restorer
from lit_modules.errors import UsageError
from lit_modules.tasks import whole_images
from lit_modules.tasks.whole_images import WholeImageNetwork
from tests.support.restorations import NETWORKS, Scaled, randomised


@pytest.mark.parametrize("poses", [None, FLIP])
@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_give_what_the_whole_image_gives(name: str, poses: tuple[Pose, ...] | None) -> None:
    """On images whose sides are no multiples of anything, of which no tile sees all."""
    channels, make = NETWORKS[name]
    network = randomised(make())
    tile = 24 // network.total_stride * network.total_stride
    image = torch.rand(1, channels, 61, 131)
    sizes: list[int] = []
    with torch.inference_mode():
        whole = WholeImageNetwork(network, None, poses)(image)
        in_tiles = WholeImageNetwork(network, tile, poses)
        in_tiles(image)  # finds the halo
        network.register_forward_pre_hook(lambda module, inputs: sizes.append(inputs[0].shape[-1]))
        tiled = in_tiles(image)
    assert len(sizes) >= 18
    assert max(sizes) < 131
    assert (whole - image).std() > 0.01
    torch.testing.assert_close(tiled, whole, rtol=1e-5, atol=1e-5)


class Strided(nn.Module):
    """Gives a value for each cell of 4×4 pixels."""

    total_stride = 4
    output_stride = 4

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 4, 4)

    def forward(self, image: Tensor) -> Tensor:
        return self.conv(image)


@pytest.mark.parametrize("tile", [None, 12])
@pytest.mark.parametrize("size", [(17, 26), (24, 16)])
def test_poses_of_an_equivariant_network_change_nothing(tile: int | None, size: tuple[int, int]) -> None:
    network = nn.AvgPool2d(3, 1, 1)
    network.total_stride = network.output_stride = 1
    image = torch.rand(2, 3, *size)
    torch.testing.assert_close(WholeImageNetwork(network, tile, ALL_POSES)(image), network(image))


def test_cells_of_all_poses_lie_alike() -> None:
    """An image that does not end with a cell is padded before it is turned."""
    network = Strided()
    image = torch.rand(1, 3, 18, 27)
    padded = nn.functional.pad(image, (0, 1, 0, 2))
    with torch.no_grad():
        expected = (network(padded) + network(padded.flip(3)).flip(3)) / 2
        torch.testing.assert_close(WholeImageNetwork(network, None, FLIP)(image), expected)


def test_halo_is_looked_for_when_it_is_needed_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(
        "lit_modules.tasks.whole_images.receptive_halo", lambda *arguments: calls.append(arguments) or 4
    )
    network = nn.Conv2d(1, 1, 3, padding=1)
    network.total_stride, network.output_stride = 2, 1
    apply = WholeImageNetwork(network, 8)
    assert calls == []
    for _ in range(2):
        apply(torch.rand(1, 1, 20, 20))
    assert calls == [(network, 1, 2)]


def test_a_network_that_reads_the_whole_image_cannot_be_tiled() -> None:
    network = Restorer(conv=CondConv2d, width=2, inner_width=4, depth=1).eval()
    with pytest.raises(UsageError, match=r"reads the image as a whole.*Leave --model.init_args.tile away"):
        WholeImageNetwork(network, 16)(torch.rand(1, 3, 40, 40))


@pytest.mark.parametrize(
    ("network", "tile", "message"),
    [
        (Strided(), 30, "tile must be a positive multiple of 4, the network's total stride, got 30"),
        (Strided(), 0, "tile must be a positive multiple of 4, the network's total stride, got 0"),
        (nn.Conv2d(3, 3, 1), 32, "tile=32 needs a network that states .*total_stride; Conv2d does not"),
    ],
)
def test_tiles_that_do_not_suit_are_refused(network: nn.Module, tile: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WholeImageNetwork(network, tile)


def test_a_large_image_says_how_far_it_has_come(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Six tiles of 4 seconds: a line when more than 10 have gone by since the last one, none after the last tile."""
    now = [0.0]

    class Slow(Scaled):
        total_stride = 4
        output_stride = 1

        def forward(self, image: Tensor) -> Tensor:
            now[0] += 4 if image.shape[-1] >= 8 else 0
            return super().forward(image)

    network = WholeImageNetwork(Slow().eval(), tile=8)
    monkeypatch.setattr(whole_images, "_find_halo", lambda *_: 0)
    monkeypatch.setattr(whole_images.time, "monotonic", lambda: now[0])
    with torch.no_grad(), caplog.at_level("INFO"):
        network(torch.zeros(1, 3, 16, 24))
    assert [record.getMessage() for record in caplog.records] == ["tile 3 of 6 of an image is done"]


def test_a_large_image_has_a_bar_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six tiles are counted up to six, and the bar is cleared; nothing is logged beside it."""

    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    class Slow(Scaled):
        def forward(self, image: Tensor) -> Tensor:
            time.sleep(0.11)  # a bar is drawn ten times a second
            return super().forward(image)

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(whole_images, "_DELAY", 0)
    monkeypatch.setattr(whole_images, "_find_halo", lambda *_: 0)
    monkeypatch.setattr(whole_images, "_SECONDS", -1.0)
    logged: list[str] = []
    monkeypatch.setattr(whole_images, "rank_zero_info", logged.append)
    with torch.no_grad():
        WholeImageNetwork(Slow().eval(), tile=8)(torch.zeros(1, 3, 16, 24))
    steps = re.findall(r"(\d)/6", terminal.getvalue())
    assert "6" in steps and steps == sorted(steps)
    assert terminal.getvalue().rstrip(" ").endswith("\r")
    assert not logged
