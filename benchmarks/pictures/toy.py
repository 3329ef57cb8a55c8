"""Pattern detection by one layer, as in the paper's section 3.3 and Figure 6."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.pictures.canvas import GREY, Canvas
from benchmarks.pictures.training import train
from benchmarks.studies.matching import network_in
from datamodules import PatternsDataModule
from datamodules.batches import PatternBatch
from lit_modules.output.pictures import draw_heat, draw_image
from lit_modules.tasks.pattern import equivariance_error

_NETWORKS = {"plain 7x7 convolution": "configs/toy/conv.yaml", "7x7 ACDA": "configs/toy/acda.yaml"}
_BORDER = 8  # pixels, as PatternTask has it
_SIDE, _GAP, _LEFT, _TOP = 200, 12, 54, 30


def toy(steps: int = 1200) -> Canvas:
    """Draw input, target and the predictions of both layers, on the map they learned from and on the same map shifted.

    Args:
        steps: Steps of training, each of them on the one map that there is.

    Returns:
        The picture, with the errors measured.
    """
    batch: PatternBatch = PatternsDataModule().val_samples()[0]
    canvas = Canvas(_LEFT + 4 * (_SIDE + _GAP), _TOP + 2 * (_SIDE + 44) + 36)
    rows = ((batch.image, batch.target), (batch.shifted_image, batch.shifted_target))
    shift = int(batch.shift[0])
    for number, (image, target) in enumerate(rows):
        _panel(canvas, 0, number, draw_image(image[0]), "input")
        _panel(canvas, 1, number, draw_heat(target[0, 0], 0, 1), "target: centres of the patterns")
    for column, (name, config) in enumerate(_NETWORKS.items(), 2):
        first, second = _predictions(name, config, batch, steps)
        apart = float(equivariance_error(first, second, shift, _BORDER))
        for number, (prediction, (_, target)) in enumerate(zip((first, second), rows, strict=True)):
            _panel(canvas, column, number, draw_heat(prediction[0, 0], 0, 1), name)
            below = f"mean squared error {float(F.mse_loss(prediction, target)):.2g}"
            below += f"\nlargest difference from\nthe map above, shifted: {apart:.1g}" if number else ""
            canvas.text(_x(column) + _SIDE / 2, _y(number) + _SIDE + 5, below, 12.5, "ma")
    canvas.text(8, _y(0) + 2, "as\ntrained", 12.5)
    canvas.text(8, _y(1) + 2, f"shifted\nby {shift}\npixels", 12.5)
    bottom = canvas.height - 26
    canvas.scale(_x(3), bottom, _SIDE, lambda values: draw_heat(values, 0, 1), (0, 1))
    canvas.text(_x(3) - 10, bottom - 3, "colours of target and predictions", 12, "ra", GREY)
    return canvas


def _predictions(name: str, config: str, batch: PatternBatch, steps: int) -> tuple[Tensor, Tensor]:
    """Train the network of an experiment with its recipe; what it says of the map, and of the shifted map."""
    torch.manual_seed(0)
    network: nn.Module = network_in(config)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.99)
    train(name, network, lambda: F.mse_loss(network(batch.image), batch.target), steps, optimizer)
    with torch.no_grad():
        return network(batch.image), network(batch.shifted_image)


def _x(column: int) -> int:
    return _LEFT + column * (_SIDE + _GAP)


def _y(row: int) -> int:
    return _TOP + row * (_SIDE + 30)


def _panel(canvas: Canvas, column: int, row: int, picture: Tensor, title: str) -> None:
    canvas.picture(_x(column), _y(row), picture, _SIDE, GREY)
    if row == 0:
        canvas.text(_x(column) + _SIDE / 2, 8, title, 14, "ma")
