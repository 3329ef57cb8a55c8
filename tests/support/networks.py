"""What every restoration network promises, whatever is inside it."""

import numpy as np
import torch
from torch import Tensor, nn

from tests.support.noise import noisy

SIZES = [(1, 1), (3, 2), (5, 17), (16, 8)]


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def randomised(network: nn.Module) -> nn.Module:
    """For evaluation in float64, with noise on parameters and statistics, so that what is drawn as 0 or 1 counts."""
    network = noisy(network.double().eval())
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network


@torch.no_grad()
def assert_takes_any_size(network: nn.Module, in_channels: int, out_channels: int) -> None:
    network = randomised(network)
    for size in SIZES:
        output = network(torch.rand(2, in_channels, *size, dtype=torch.float64))
        assert output.shape == (2, out_channels, *size)
        assert output.isfinite().all()


@torch.no_grad()
def assert_pads_with_the_border(network: nn.Module, channels: int, multiple: int) -> None:
    """Assert that an image gives the same with its last rows and columns repeated up to a multiple, but for those."""
    network = randomised(network)
    for height, width in SIZES:
        image = torch.rand(1, channels, height, width, dtype=torch.float64)
        below, right = -height % multiple, -width % multiple
        padded = torch.from_numpy(np.pad(image, ((0, 0), (0, 0), (0, below), (0, right)), mode="edge"))
        torch.testing.assert_close(network(image), network(padded)[..., :height, :width], rtol=1e-10, atol=1e-10)


@torch.no_grad()
def assert_moves_with_the_image(network: nn.Module, channels: int, stride: int, halo: int) -> None:
    """Assert that a part beginning at a multiple of the total stride gives, off its edges, what the whole image gives.

    Unless the stride is 1, it does not where it begins one pixel earlier.
    """
    network = randomised(network)
    assert network.output_stride == 1
    assert network.total_stride == stride
    inside = slice(halo, halo + 4)
    side = 2 * halo + 4 + stride
    image = torch.rand(1, channels, side, side, dtype=torch.float64)
    whole = network(image)[..., halo + stride : halo + stride + 4, halo + stride : halo + stride + 4]
    moved = network(image[..., stride:, stride:])[..., inside, inside]
    torch.testing.assert_close(moved, whole, rtol=1e-9, atol=1e-9)
    assert whole.std() > 1e-6
    if stride > 1:
        earlier = network(image[..., stride - 1 :, stride - 1 :])[..., halo + 1 : halo + 5, halo + 1 : halo + 5]
        assert not torch.allclose(earlier, whole, rtol=1e-3)


def assert_learns(network: nn.Module, channels: int, lr: float = 1e-2, steps: int = 30) -> None:
    """Restoring one noisy image gets easier, and every parameter has a part in it."""
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    image = smooth_image(channels)
    noisy = image + 0.1 * torch.randn_like(image)
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        loss = nn.functional.mse_loss(network(noisy), image)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert [name for name, p in network.named_parameters() if torch.equal(p, before[name])] == []


def smooth_image(channels: int) -> Tensor:
    """Two images in [0, 1] of slow waves."""
    row, column = torch.meshgrid(torch.arange(17.0), torch.arange(14.0), indexing="ij")
    phases = torch.arange(2 * channels).view(2, channels, 1, 1)
    return 0.5 + 0.4 * torch.sin(0.3 * row + 0.2 * column + phases)
