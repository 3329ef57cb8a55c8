"""Objects of one's own in images of one channel or many, from a configuration to files for annotation tools."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.cli.conftest import Refuse, run
from tests.support.crowds import density_of

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[2] / "configs" / "own" / "counting.yaml"
SIZE = (64, 80)


def write_spots(channels: int, bits: int, suffix: str, count: int = 8) -> dict[str, int]:
    """Write images with bright spots, some in a sub-folder, and a table of them; returns how many are in each."""
    random = np.random.RandomState(0)
    rows, counts = [], {}
    for number in range(count):
        name = f"{'sub/' * (number % 2)}im_{number}{suffix}"
        points = [tuple(place) for place in (random.rand(number, 2) * (79, 63)).round(2).tolist()]
        spots = np.clip(density_of(points, *SIZE) * 40 + 0.05 * random.rand(*SIZE), 0, 1)
        pages = (spots * np.linspace(1, 0.5, channels)[:, None, None] * (2**bits - 1)).astype(f"uint{bits}")
        path = Path("images", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".tif":
            tifffile.imwrite(path, pages.squeeze(), photometric="minisblack")
        else:
            Image.fromarray(pages[0]).save(path)
        rows += [(name, x + 0.5, y + 0.5, "spot") for x, y in points] or [(name, "", "", "")]
        counts[name] = number
    with Path("spots.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "x", "y", "label"), *rows])
    return counts


def arguments_of(channels: int, *options: str) -> list[object]:
    """What runs the configuration on these images."""
    backbone = "--model.init_args.network.init_args.backbone.init_args"
    data = {"images_dir": "images", "annotations": "spots.csv", "num_workers": 0, "crop_size": 48, "batch_size": 2}
    arguments = [f"--data.init_args.{name}={value}" for name, value in data.items()]
    arguments += [f"--data.init_args.channels={channels}", f"{backbone}.in_channels={channels}"]
    short = ("max_epochs=2", "check_val_every_n_epoch=1", "log_every_n_steps=1", "accelerator=cpu")
    return ["--config", CONFIG, *arguments, *(f"--trainer.{setting}" for setting in short), *options]


@pytest.mark.parametrize(("channels", "bits", "suffix"), [(1, 16, ".tif"), (1, 8, ".png"), (5, 16, ".tif")])
def test_images_of_other_channels_are_counted(channels: int, bits: int, suffix: str) -> None:
    counts = write_spots(channels, bits, suffix)
    run("fit", *arguments_of(channels, "--data.init_args.category=spot"))
    folder = Path("runs", "own", "counting", "version_0")
    run("test", "--ckpt_path", folder)
    with (folder / "test" / "counts.csv").open() as file:
        tested = list(csv.DictReader(file))
    assert tested
    assert all(int(row["annotated"]) == counts[row["id"]] for row in tested)
    assert list((folder / "test" / "pictures").rglob("*.png"))
    shutil.rmtree("images/sub")
    Path("spots.csv").unlink()
    run("predict", "--ckpt_path", folder, "--data.init_args.predict_dir=images")
    results = folder / "predict"
    names = {name for name in counts if "/" not in name}
    for name in names:
        found = json.loads((results / "predictions" / f"{name}.objects.json").read_text())
        assert (found["category"], found["height"], found["width"]) == ("spot", *SIZE)
        with Image.open(results / "predictions" / f"{name}.png") as picture:
            assert picture.mode == "RGB"
            assert np.ptp(np.asarray(picture)) > 100
    coco = json.loads((results / "coco.json").read_text())
    assert {image["file_name"] for image in coco["images"]} == names
    assert [category["name"] for category in coco["categories"]] == ["spot"]


def test_what_was_found_can_be_trained_on() -> None:
    """Positions that a network finds, of an untrained one that finds many, are annotations in both forms."""
    counts = write_spots(1, 8, ".png")
    options = ["--trainer.callbacks+=CrowdPredictions", "--trainer.callbacks.threshold=0.000001"]
    options.append("--model.init_args.network.init_args.output_activation=softplus")
    run("fit", *arguments_of(1, *options))
    folder = Path("runs", "own", "counting", "version_0")
    run("predict", "--ckpt_path", folder, "--data.init_args.predict_dir=images")
    coco = json.loads((folder / "predict" / "coco.json").read_text())
    found = {name: 0 for name in counts}
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    for record in coco["annotations"]:
        found[names[record["image_id"]]] += 1
    assert min(found.values()) > 0
    for annotations in ("coco.json", "labelme"):
        place = f"--data.init_args.annotations={folder / 'predict' / annotations}"
        run("test", "--ckpt_path", folder, place)
        newest = max(folder.glob("test*"), key=lambda path: path.stat().st_mtime)
        with (newest / "counts.csv").open() as file:
            tested = {row["id"]: int(row["annotated"]) for row in csv.DictReader(file)}
        assert tested
        assert tested.items() <= found.items()


def test_a_network_for_other_channels_is_told_before_training(refuse: Refuse) -> None:
    write_spots(1, 8, ".png")
    options = "--model.init_args.network.init_args.backbone.init_args.in_channels=3"
    (line,) = refuse("fit", *arguments_of(1, options))
    assert "cannot take an input of shape [1, 1, 64, 80]: set --model.init_args.network.init_args.backbone" in line
    assert "init_args.in_channels=1" in line
    assert not list(Path("runs").rglob("*.ckpt"))


def test_numbers_for_other_channels_are_told(refuse: Refuse) -> None:
    (line, *_) = refuse("fit", *arguments_of(1, "--data.init_args.mean=[0.5,0.5,0.5]"))
    assert "mean must be a number from 0 to 1 for each of 1 channels, got [0.5, 0.5, 0.5]" in line
