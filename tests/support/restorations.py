"""Photographs to restore whose errors a test decides, and small variants of the networks that restore."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from acda.models import KPN, LPKPN, VDSR, DnCNN, DNet, Restorer, SNet, SRResNet, VariationalDenoiser
from datamodules.batches import DegradedBatch, RestorationBatch

NETWORKS: dict[str, tuple[int, Callable[[], nn.Module]]] = {
    "Restorer": (3, lambda: Restorer(width=2, inner_width=4, depth=1)),
    "Restorer, baseline": (3, lambda: Restorer(conv=nn.Conv2d, width=2, inner_width=4, depth=1)),
    "VDSR": (3, lambda: VDSR(width=4, depth=4)),
    "VDSR of Y": (1, lambda: VDSR(1, width=4, depth=4)),
    "SRResNet": (3, lambda: SRResNet(width=4, depth=1)),
    "DnCNN": (3, lambda: DnCNN(width=4, depth=4)),
    "KPN": (1, lambda: KPN(width=16, depth=1)),
    "KPN, large": (1, lambda: KPN(19, width=16, depth=1)),
    "LPKPN": (1, lambda: LPKPN(width=16, depth=1)),
    "VDN": (3, lambda: VariationalDenoiser(DNet(widths=(4, 4, 4)), SNet(width=4))),
    "VDN with Restorer": (3, lambda: VariationalDenoiser(Restorer(3, 6, width=2, depth=1, residual=False), SNet())),
}
"""Channels of the image, and what makes a network small enough for tests."""


def randomised(network: nn.Module) -> nn.Module:
    """All parameters and running statistics at random, as after training, for evaluation."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    for parameter in network.parameters():
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 200
        nn.init.normal_(parameter, std=(2 / fan_in) ** 0.5)
    return network.eval()


class Scaled(nn.Module):
    """Multiplies images by one number."""

    total_stride = 1
    output_stride = 1

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.seen: list[tuple[int, ...]] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(tuple(image.shape))
        return self.factor * image


def pair(height: int, width: int, name: str = "photo.png", noise: float = 0.1, count: int = 1) -> RestorationBatch:
    """Smooth photographs of 8 bits with noise."""
    coarse = torch.rand(count, 3, 4, 4)
    target = nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)
    target = (target * 255).round() / 255
    image = (target + noise * torch.randn_like(target)).clamp(0, 1)
    names = [name] if count == 1 else [f"{i}_{name}" for i in range(count)]
    return RestorationBatch((image * 255).round() / 255, target, names)


def degraded(image: Tensor, name: str = "photo.png", bits: int = 8, grey: bool = False) -> DegradedBatch:
    """Make an image to restore."""
    return DegradedBatch(image, torch.tensor([bits]), torch.tensor([grey]), [name])


class Photographs(LightningDataModule):
    """Given batches, as all splits."""

    def __init__(self, batches: Sequence[RestorationBatch] = (), to_restore: Sequence[DegradedBatch] = ()) -> None:
        super().__init__()
        self.batches = list(batches)
        self.to_restore = list(to_restore)

    def train_dataloader(self) -> DataLoader[RestorationBatch]:
        return DataLoader(self.batches, batch_size=None)

    val_dataloader = test_dataloader = train_dataloader

    def predict_dataloader(self) -> DataLoader[DegradedBatch]:
        return DataLoader(self.to_restore, batch_size=None)


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}
