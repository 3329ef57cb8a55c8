"""Training in some seconds, which is all that pictures take."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from datamodules.files.progress import show_progress

Loss = Callable[[], Tensor]


def train(
    what: str, network: nn.Module, loss: Loss, steps: int, optimizer: Optimizer, schedule: LRScheduler | None = None
) -> None:
    """Train a network and leave it in evaluation mode.

    Args:
        what: Name of the network, for the user.
        network: The network.
        loss: Draws a batch and gives the network's loss.
        steps: Batches to learn from.
        optimizer: Of the network's parameters.
        schedule: Of the learning rate, by steps.
    """
    network.train()
    for _ in show_progress(range(steps), f"Training {what}", "steps"):
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if schedule is not None:
            schedule.step()
    network.eval()


def random_patches(images: list[Tensor], count: int, side: int, generator: torch.Generator) -> Tensor:
    """Cut squares out of images, all at random.

    Args:
        images: ``[C, H, W]`` each.
        count: Squares.
        side: Of a square, in pixels.
        generator: Draws.

    Returns:
        ``[count, C, side, side]``.
    """

    def below(limit: int) -> int:
        return int(torch.randint(limit, (), generator=generator))

    patches = []
    for _ in range(count):
        image = images[below(len(images))]
        top, left = (below(length - side + 1) for length in image.shape[1:])
        patches.append(image[:, top : top + side, left : left + side])
    return torch.stack(patches)
