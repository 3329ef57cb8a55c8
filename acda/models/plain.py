"""Chains of 3×3 convolutions, and weights drawn by the method of He et al."""

import math
from collections.abc import Callable

from torch import nn


def plain_convolutions(
    in_channels: int,
    out_channels: int,
    width: int,
    depth: int,
    activation: Callable[[], nn.Module],
    batch_norm: bool = False,
) -> nn.Sequential:
    """Chain 3×3 convolutions that keep the size, with an activation between them.

    Args:
        in_channels: Channels of the first convolution's input.
        out_channels: Channels of the last convolution's output.
        width: Channels between them.
        depth: Convolutions, at least 2.
        activation: Makes an activation.
        batch_norm: Whether the convolutions between the first and the last have batch norm instead of a bias.

    Returns:
        The chain, its weights drawn by :func:`draw_he`.

    Raises:
        ValueError: If ``depth`` is below 2.
    """
    if depth < 2:
        raise ValueError(f"depth must be at least 2, got {depth}")
    layers = [nn.Conv2d(in_channels, width, 3, padding=1), activation()]
    for _ in range(depth - 2):
        layers.append(nn.Conv2d(width, width, 3, padding=1, bias=not batch_norm))
        layers += [nn.BatchNorm2d(width)] if batch_norm else []
        layers.append(activation())
    chain = nn.Sequential(*layers, nn.Conv2d(width, out_channels, 3, padding=1))
    draw_he(chain)
    return chain


def draw_he(network: nn.Module, transposed: bool = False) -> None:
    """Draw the weights of all of a network's convolutions from a normal of variance 2 / fan-in; no bias at first.

    Args:
        network: Whose ``Conv2d`` modules are drawn, in place.
        transposed: Draw its ``ConvTranspose2d`` modules as well; the fan-in of an output is the mean number of weights
            that reach it, 1 / stride² of the filter's.

    Reference:
        He, Zhang, Ren, Sun, *Delving Deep into Rectifiers*, ICCV 2015 ("msra" in Caffe).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif transposed and isinstance(module, nn.ConvTranspose2d):
            taps = math.prod(module.kernel_size) / math.prod(module.stride)
            nn.init.normal_(module.weight, std=math.sqrt(2 * module.groups / (module.in_channels * taps)))
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
