"""Converts well-known networks to ACDA, runs them forward and backward, and reports parameters and MACs.

``python -m benchmarks.speed.plug_and_play --csv benchmarks/results/plug_and_play.csv``
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from acda import convert_conv2d
from acda.analysis import cost
from benchmarks import records

SIDE = 224  # of the image that costs are counted for
_RUN = (2, 3, 64, 64)  # images of a run forward and backward
_HEADINGS = {
    "network": "network",
    "names": "names",
    "replaced": "replaced",
    "parameters_before": "parameters before",
    "parameters": "after",
    "macs_before": f"MACs at {SIDE}² before",
    "macs": "after",
    "runs": "forward and backward",
}


class UNet(nn.Module):
    """A U-Net: four levels of two 3×3 convolutions each, max-pooling down, transposed convolutions up.

    Reference:
        Ronneberger, Fischer, Brox, *U-Net: Convolutional Networks for Biomedical Image Segmentation*, MICCAI 2015;
        with padding, norms and half the widths.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 128, 256)) -> None:
        super().__init__()
        self.down = nn.ModuleList(map(_double, (3, *widths[:-1]), widths))
        deep_first = widths[::-1]
        self.widen = nn.ModuleList(map(_transposed, deep_first[:-1], deep_first[1:]))
        self.up = nn.ModuleList(_double(2 * width, width) for width in deep_first[1:])
        self.head = nn.Conv2d(widths[0], 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, 3, H, W]`` to ``[N, 2, H, W]``, H and W multiples of 8."""
        skipped: list[Tensor] = []
        for level in self.down:
            x = level(nn.functional.max_pool2d(x, 2) if skipped else x)
            skipped.append(x)
        skipped.pop()
        for widen, level in zip(self.widen, self.up, strict=True):
            x = level(torch.cat([skipped.pop(), widen(x)], dim=1))
        logits: Tensor = self.head(x)
        return logits


def _double(in_channels: int, out_channels: int) -> nn.Module:
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [nn.Conv2d(channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU()]
    return nn.Sequential(*layers)


def _transposed(in_channels: int, out_channels: int) -> nn.Module:
    return nn.ConvTranspose2d(in_channels, out_channels, 2, 2)


class Subject(NamedTuple):
    """A network and which of its convolutions to replace; None for all that have an adaptive form."""

    build: Callable[[], nn.Module]
    names: str | None = None


def subjects() -> dict[str, Subject]:
    """List the networks, by name."""
    from torchvision.models import (  # type: ignore[import-untyped]  # only this benchmark needs it
        convnext_tiny,
        efficientnet_b0,
        resnet50,
    )

    return {
        "ResNet-50": Subject(resnet50),
        "ResNet-50, layers 3 and 4": Subject(resnet50, "layer[34].*"),
        "ConvNeXt-Tiny": Subject(convnext_tiny),
        "EfficientNet-B0": Subject(efficientnet_b0),
        "U-Net": Subject(UNet),
    }


def runs(network: nn.Module) -> str:
    """Run forward and backward in training mode.

    Returns:
        ``"ok"``, or what was wrong.
    """
    torch.manual_seed(0)
    y = network.train()(torch.randn(_RUN))
    torch.autograd.backward(y.square().mean())
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    if not y.isfinite().all():
        return "the output is not finite"
    return f"no finite gradient: {', '.join(without[:3])}" if without else "ok"


def measure(name: str, subject: Subject) -> records.Row:
    """Convert a network and count.

    Args:
        name: Of the network.
        subject: How to make it and what to replace.
    """
    network = subject.build()
    shape = (1, 3, SIDE, SIDE)
    before = cost(network.eval(), shape)
    conversion = convert_conv2d(network) if subject.names is None else convert_conv2d(network, names=subject.names)
    after = cost(conversion.model.eval(), shape)
    return {
        "network": name,
        "names": subject.names or "all",
        "replaced": len(conversion.replaced),
        "kept": len(conversion.kept),
        "parameters_before": before.parameters,
        "parameters": after.parameters,
        "macs_before": before.macs,
        "macs": after.macs,
        "runs": runs(conversion.model),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert the networks, print the table, write the rows.

    Args:
        arguments: Command line, by default the process's.
    """
    parser = records.plain_parser("speed.plug_and_play", __doc__)
    parser.add_argument("--csv", type=Path, help="also write the rows here")
    options = parser.parse_args(arguments)
    rows = [measure(name, subject) for name, subject in subjects().items()]
    print(records.table(rows, _HEADINGS))
    if options.csv is not None:
        records.write(options.csv, rows)


if __name__ == "__main__":
    main()
