"""Crowds whose heads and predictions a test decides."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datamodules.batches import IMAGENET_MEAN, IMAGENET_STD, CrowdBatch, PhotographBatch

CELL = 4
SCALE = 100.0
NORMALISED = torch.tensor([IMAGENET_MEAN]), torch.tensor([IMAGENET_STD])


def density_of(
    points: Sequence[tuple[float, float]], height: int, width: int, sigma: float = 4, side: int = 15
) -> npt.NDArray[np.float64]:
    """Draw a Gaussian around the nearest pixel of each head, its part within the image of sum 1: pixel by pixel."""
    density = np.zeros((height, width))
    for x, y in points:
        kernel = np.zeros((height, width))
        column, row = round(x), round(y)
        for i in range(max(0, row - side // 2), min(height, row + side // 2 + 1)):
            for j in range(max(0, column - side // 2), min(width, column + side // 2 + 1)):
                kernel[i, j] = np.exp(-((i - row) ** 2 + (j - column) ** 2) / (2 * sigma**2))
        density += kernel / kernel.sum()
    return density


def in_cells(density: npt.NDArray[np.float64], side: int = CELL) -> npt.NDArray[np.float64]:
    """Sum over square cells; the last ones are smaller where they do not fit."""
    rows, columns = range(0, density.shape[0], side), range(0, density.shape[1], side)
    return np.array([[density[i : i + side, j : j + side].sum() for j in columns] for i in rows])


def crowd(
    points: Sequence[tuple[float, float]],
    height: int,
    width: int,
    name: str = "crowd",
    predicted: npt.NDArray[np.float64] | None = None,
) -> CrowdBatch:
    """Make an image whose first channel is what :class:`Seen` takes for the density; default: the annotated one."""
    density = torch.from_numpy(density_of(points, height, width)).float()[None, None]
    image = torch.zeros(1, 3, height, width)
    image[0, 0] = density if predicted is None else torch.from_numpy(predicted)
    positions = [torch.tensor(points).reshape(-1, 2)]
    return CrowdBatch(image, density, torch.tensor([len(points)]), positions, [name], *NORMALISED)


class Seen(nn.Module):
    """Gives out as density, in cells, what stands in the image's first channel, times ``SCALE``."""

    output_stride = CELL
    total_stride = CELL

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor) -> Tensor:
        return self.factor * SCALE * nn.functional.avg_pool2d(image[:, :1], CELL, ceil_mode=True, divisor_override=1)


class Crowds(LightningDataModule):
    """Given batches, as all splits; for prediction of photographs of an original size, and turned by EXIF."""

    def __init__(
        self,
        batches: list[CrowdBatch],
        original_size: tuple[int, int] | None = None,
        exif: str = "stored",
        orientation: int = 1,
        category: str = "heads",
    ) -> None:
        super().__init__()
        self.batches = batches
        self.original_size = original_size
        self.exif = exif
        self.category = category
        self.orientation = torch.tensor([orientation])

    def train_dataloader(self) -> DataLoader[CrowdBatch]:
        return DataLoader(self.batches, batch_size=None)

    val_dataloader = test_dataloader = train_dataloader

    def predict_dataloader(self) -> DataLoader[PhotographBatch]:
        sizes = [self.original_size or tuple(batch.image.shape[2:]) for batch in self.batches]
        given = zip(self.batches, sizes, strict=True)
        photographs = [
            PhotographBatch(
                *(batch.image, torch.tensor([size]), batch.id, [self.exif], self.orientation),
                *(batch.mean, batch.std, [self.category]),
            )
            for batch, size in given
        ]
        return DataLoader(photographs, batch_size=None)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
