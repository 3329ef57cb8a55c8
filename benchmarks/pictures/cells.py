"""Cells counted by the command of the page on one's own data."""

import tempfile
from pathlib import Path

import torch

from benchmarks.machine import ROOT
from benchmarks.pictures.canvas import Canvas
from benchmarks.pictures.crowd import draw
from benchmarks.studies.examples import write_cells
from benchmarks.studies.study import find_newest_run
from datamodules import PointsDataModule
from lit_modules import CountingTask
from lit_modules.cli import CLI

_CONFIG = ROOT / "configs" / "own" / "counting.yaml"


def cells(epochs: int | None = None, count: int = 40) -> Canvas:
    """Draw a photograph that was not trained on: marked cells, and annotated and predicted density with their counts.

    Args:
        epochs: Of training. Default: as many as the configuration says.
        count: Photographs to write, most of them to train on.

    Returns:
        The picture, with the counts and the mean error of all photographs for test.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_cells(folder, count)
        where = {"images_dir": folder / "images", "annotations": folder / "points.csv"}
        words = ["fit", "--config", str(_CONFIG), f"--trainer.default_root_dir={folder / 'runs'}"]
        words += [f"--data.init_args.{name}={path}" for name, path in where.items()]
        if epochs is not None:
            words += [f"--trainer.max_epochs={epochs}", "--trainer.check_val_every_n_epoch=1"]
        CLI(words)
        (best,) = (find_newest_run(folder / "runs") / "checkpoints").glob("epoch*.ckpt")
        task = CountingTask.load_from_checkpoint(best, map_location="cpu").eval()
        data = PointsDataModule(str(where["images_dir"]), annotations=str(where["annotations"]), num_workers=0)
        data.setup("fit")
        data.setup("test")
        tests = list(data.test_dataloader())
        with torch.no_grad():
            densities = [task.network(photograph.image) / task.density_scale for photograph in tests]
    training = f"Trained on {len(data.stored_samples('train'))} photographs"
    return draw(tests, densities, training, "photograph", "photographs", "cells")
