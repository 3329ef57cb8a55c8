"""Images per second of the ImageNet data module against torchvision's reference, on the same files.

``python -m benchmarks.loading.images --csv benchmarks/results/image_loading.csv``

The reference is torchvision's ``ImageFolder`` with the transforms that its own networks were trained with, on Pillow.
Files are JPEGs of 500 × 375 pixels, cut at random from photographs of scikit-image and scikit-learn. All loaders run
in turn, each with one thread in each process; workers live on from round to round. ``8-bit`` is what the data module's
loader hands out; ``normalised`` adds what follows on the device, here on the processor and in the main process.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import datasets, transforms  # type: ignore[import-untyped]

from benchmarks import records
from benchmarks.speed import timing
from datamodules import ImageNetDataModule

REFERENCE = "torchvision"
_CPU = torch.device("cpu")
_CLASSES, _QUALITY = 4, 98  # files of nearly 100 kB; ImageNet's for training have 115 kB on average
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_STEPS: dict[str, list[Any]] = {
    "train": [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()],
    "val": [transforms.Resize(256), transforms.CenterCrop(224)],
}
_HEADINGS = {
    "split": "split",
    "workers": "workers",
    "loader": "loader",
    "faster": "torchvision's time ÷ its own",
    "images_per_s": "images/s",
    "epoch_ms": "epoch ms",
    "epoch_iqr_ms": "quartiles' distance",
    "status": "status",
}


def write_images(root: Path, count: int) -> float:
    """Write the files, in class folders, once for both splits.

    Args:
        root: Where to write ``train/`` and ``val/``.
        count: Number of images.

    Returns:
        Their mean size in kilobytes.
    """
    names = ("astronaut", "chelsea", "coffee", "rocket")
    photographs = [*(getattr(skimage.data, name)() for name in names), *load_sample_images().images]
    random = np.random.RandomState(0)
    sizes = []
    for number in range(count):
        folder = root / "train" / f"class_{number % _CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        photograph = Image.fromarray(photographs[number % len(photographs)])
        height = random.uniform(0.7, 1) * min(photograph.height, photograph.width * 3 / 4)
        width = height * 4 / 3
        left, top = random.uniform(0, photograph.width - width), random.uniform(0, photograph.height - height)
        box = (left, top, left + width, top + height)
        path = folder / f"{number:04d}.JPEG"
        photograph.resize((500, 375), Image.Resampling.BICUBIC, box).save(path, "JPEG", quality=_QUALITY)
        sizes.append(path.stat().st_size)
    (root / "val").symlink_to(root / "train", target_is_directory=True)
    return float(np.mean(sizes)) / 1e3


def reference(root: Path, split: str, batch: int, workers: int) -> DataLoader[tuple[Tensor, Tensor]]:
    """Make torchvision's loader of a split; its batches are normalised."""
    steps = [*_STEPS[split], transforms.ToTensor(), transforms.Normalize(_MEAN, _STD)]
    images = datasets.ImageFolder(str(root / split), transforms.Compose(steps))
    return DataLoader(images, batch, split == "train", num_workers=workers, persistent_workers=workers > 0)


def check(root: Path, batch: int) -> str:
    """Compare the images of evaluation with the reference's.

    Returns:
        ``"ok"``, or what is wrong.
    """
    data = ImageNetDataModule(str(root), total_batch_size=batch, num_workers=0)
    worst = 0.0
    for ours, (images, labels) in zip(data.val_dataloader(), reference(root, "val", batch, 0), strict=True):
        if not torch.equal(ours.label, labels):
            return "wrong: labels differ"
        difference = data.on_after_batch_transfer(ours, 0).image - images
        worst = max(worst, (difference.abs() * torch.tensor(_STD)[:, None, None]).max().item() * 255)
    return "ok" if worst < 1.01 else f"wrong: pixels are off by {worst:.3g} of 255"


def make_loaders(root: Path, split: str, batch: int, workers: int) -> dict[str, timing.Run]:
    """Make what reads all images of a split once, by the name of the loader."""
    data = ImageNetDataModule(str(root), total_batch_size=batch, num_workers=workers)
    ours = getattr(data, f"{split}_dataloader")()
    return {
        REFERENCE: partial(_read, reference(root, split, batch, workers), lambda made: made[0]),
        "8-bit": partial(_read, ours, lambda made: made.image),
        "normalised": partial(_read, ours, lambda made: data.on_after_batch_transfer(made, 0).image),
    }


def _read(loader: DataLoader[Any], images_of: Callable[[Any], Tensor]) -> None:
    for made in loader:
        images_of(made)


def measure(root: Path, split: str, workers: int, status: str, options: argparse.Namespace) -> list[records.Row]:
    """Time the loaders of a split.

    Returns:
        A row for each; those of the data module have no times if its images are wrong.
    """
    runs = make_loaders(root, split, options.batch, workers)
    right = {name: run for name, run in runs.items() if status == "ok" or name == REFERENCE}
    times = timing.time_kinds({"epoch": right}, options.rounds, _CPU)
    rows = []
    for name in runs:
        row: records.Row = {"rounds": options.rounds, "images": options.images, "batch": options.batch}
        row |= {"split": split, "workers": workers, "loader": name, "status": status, **times.get(name, {})}
        row["faster"] = records.ratio(times[REFERENCE], row, "epoch_ms")
        took = records.number(row, "epoch_ms")
        row["images_per_s"] = None if took is None else 1e3 * options.images / took
        rows.append(row)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write the rows.

    Args:
        arguments: Command line, by default the process's.
    """
    parser = records.plain_parser("loading.images", __doc__)
    parser.add_argument("--rounds", type=int, default=11, help="times each loader reads all images (default: 11)")
    parser.add_argument("--images", type=int, default=240, help="default: 240")
    parser.add_argument("--batch", type=int, default=20, help="images in a batch (default: 20)")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="processes (default: 0 1 2)")
    parser.add_argument("--csv", type=Path, help="also write the rows here")
    options = parser.parse_args(arguments)
    rows: list[records.Row] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            kilobytes = write_images(Path(folder), options.images)
            status = check(Path(folder), options.batch)
            for split in _STEPS:
                for workers in options.workers:
                    measured = measure(Path(folder), split, workers, status, options)
                    print(records.table(measured, _HEADINGS, digits=3), end="\n\n", flush=True)
                    rows += [{**row, "kilobytes": kilobytes} for row in measured]
        if options.csv is not None:
            records.write(options.csv, rows)
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
