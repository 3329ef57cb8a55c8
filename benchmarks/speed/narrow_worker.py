"""What :mod:`benchmarks.speed.narrow` times, in a process of its own: it runs in the checkout whose ``acda`` is timed.

Reads lines ``case kind convolution`` and answers each with the seconds of processor time that one run took.
"""

import sys
import time
from collections.abc import Callable
from functools import cache

import torch
from torch import nn
from torch.nn import functional as F

from acda import ACDAConv2d
from acda.models import LeNet

CONVOLUTIONS: dict[str, type[nn.Module]] = {"conv2d": nn.Conv2d, "acda": ACDAConv2d}
LENET = "lenet"


def _seconds(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def _lenet(convolution: str) -> Callable[[], object]:
    network = LeNet(conv=CONVOLUTIONS[convolution], channels=(32, 64), padding=2)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    images, labels = torch.randn(128, 3, 32, 32), torch.randint(10, (128,))

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(network(images), labels))
        optimizer.step()

    return step


@cache
def prepare(case: str, kind: str, convolution: str) -> Callable[[], object]:
    """Make what is timed, and run it once.

    Args:
        case: ``NxCxOxHxl``, a layer from C to O channels at N images of H×H pixels, or ``lenet``.
        kind: ``forward``, without gradients, or ``step``.
        convolution: One of ``CONVOLUTIONS``.
    """
    torch.manual_seed(0)
    if case == LENET:
        run = _lenet(convolution)
        run()
        return run
    images, in_channels, out_channels, height, side = map(int, case.split("x"))
    layer = CONVOLUTIONS[convolution](in_channels, out_channels, side, padding=side // 2)
    layer.to(memory_format=torch.channels_last)
    x = torch.randn(images, in_channels, height, height).contiguous(memory_format=torch.channels_last).requires_grad_()

    def forward() -> None:
        with torch.no_grad():
            layer(x)

    grad = torch.randn_like(layer(x))

    def step() -> None:
        torch.autograd.grad(layer(x), (x, *layer.parameters()), grad)

    layer.train(kind == "step")
    run = {"forward": forward, "step": step}[kind]
    run()
    return run


def main() -> None:
    """Answer until there are no more lines."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(_seconds(prepare(*line.split())), flush=True)


if __name__ == "__main__":
    main()
