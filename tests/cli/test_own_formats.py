"""Annotations of every tool, as it writes them, through check, fit, test and predict."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import PointsDataModule
from tests.cli.conftest import run
from tests.datamodules.annotations.test_reading import CASES
from tests.support.annotation_files import make_samples, write_csv, write_images

NAMES = ("a.jpg", "empty.png", *(f"plate {number % 3}/cells_{number}.png" for number in range(8)))
SAMPLES = make_samples(names=NAMES)


def write_photographs(folder: Path) -> None:
    """Unlike :func:`write_images`, no two of them alike."""
    random = np.random.RandomState(0)
    write_images(folder, SAMPLES)
    for sample in SAMPLES:
        pixels = random.randint(0, 256, (sample.height, sample.width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / sample.name)


@pytest.mark.parametrize("case", CASES)
def test_density_maps_are_those_of_a_table_to_the_last_bit(case: str, tmp_path: Path) -> None:
    write, _, _, given = CASES[case]
    write_images(tmp_path / "images", SAMPLES)
    write_csv(tmp_path / "points.csv", SAMPLES)
    write(tmp_path / "annotations", SAMPLES)
    images = str(tmp_path / "images")
    modules = (
        PointsDataModule(images, annotations=str(tmp_path / "points.csv")),
        PointsDataModule(images, annotations=str(tmp_path / "annotations"), **given),
    )
    for module in modules:
        module.setup("test")
    table, other = (module.test_samples() for module in modules)
    assert len(table) == len(other) == 2
    for number in range(2):
        assert table[number].id == other[number].id
        assert torch.equal(table[number].density, other[number].density)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["points", "coco", "labelme", "label studio keypoint", "cvat points", "npy"])
def test_every_format_goes_the_whole_way(case: str, capfd: pytest.CaptureFixture[str]) -> None:
    write, title, _, given = CASES[case]
    write_photographs(Path("images"))
    write(Path("annotations"), SAMPLES)
    network = "--model.init_args.network.init_args"
    arguments: list[object] = ["--config", Path(__file__).parents[2] / "configs" / "own" / "counting.yaml"]
    arguments += [f"{network}.backbone.init_args.conv=torch.nn.Conv2d", f"{network}.output_activation=softplus"]
    data = {"images_dir": "images", "annotations": "annotations", "num_workers": 0, "crop_size": 64, **given}
    arguments += [f"--data.init_args.{name}={value}" for name, value in data.items()]
    short = ("max_epochs=1", "check_val_every_n_epoch=1", "log_every_n_steps=1", "accelerator=cpu")
    run("check", *arguments)
    told = capfd.readouterr()
    assert f"{title}: 10 images" in told.err
    assert Path("runs/own/counting/check/check.png").is_file()
    run("fit", *arguments, *(f"--trainer.{setting}" for setting in short))
    folder = Path("runs/own/counting/version_0")
    run("test", "--ckpt_path", folder)
    with (folder / "test" / "counts.csv").open() as file:
        counts = {row["id"]: int(row["annotated"]) for row in csv.DictReader(file)}
    truth = {sample.name: len(sample.points) for sample in SAMPLES}
    assert len(counts) == 2
    assert counts.items() <= truth.items()
    run("predict", "--ckpt_path", folder, "--data.init_args.predict_dir=images")
    coco = json.loads((folder / "predict" / "coco.json").read_text())
    assert {image["file_name"] for image in coco["images"]} == set(NAMES)
