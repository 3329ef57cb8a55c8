"""Objects of one's own in images of one channel or many, from a configuration to files for annotation tools."""

import csv
import json
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
    """What runs the configuration on these images, with a small network that finds something everywhere."""
    network = "--model.init_args.network.init_args"
    arguments = ["--config", CONFIG, f"{network}.output_activation=softplus", f"{network}.widths=[4,4,4]"]
    backbone = {"in_channels": channels, "conv": "torch.nn.Conv2d"}
    arguments += [f"{network}.backbone.init_args.{name}={value}" for name, value in backbone.items()]
    data = {"images_dir": "images", "annotations": "spots.csv", "category": "spot", "channels": channels}
    data |= {"num_workers": 0, "crop_size": 48, "batch_size": 2}
    arguments += [f"--data.init_args.{name}={value}" for name, value in data.items()]
    short = ("max_epochs=1", "check_val_every_n_epoch=1", "log_every_n_steps=1", "accelerator=cpu")
    arguments += [f"--trainer.{setting}" for setting in short]
    return [*arguments, "--trainer.callbacks+=CrowdPredictions", "--trainer.callbacks.threshold=0.000001", *options]


def counts_of(folder: Path) -> dict[str, int]:
    """What a test takes for annotated."""
    with (folder / "counts.csv").open() as file:
        return {row["id"]: int(row["annotated"]) for row in csv.DictReader(file)}


@pytest.mark.parametrize(("channels", "bits", "suffix"), [(1, 16, ".tif"), (1, 8, ".png"), (5, 16, ".tif")])
def test_images_of_other_channels_are_counted(channels: int, bits: int, suffix: str) -> None:
    """The checkpoint alone says what is counted, and how many channels there are."""
    counts = write_spots(channels, bits, suffix)
    run("fit", *arguments_of(channels))
    folder = Path("runs", "own", "counting", "version_0")
    run("test", "--ckpt_path", folder)
    assert counts_of(folder / "test")
    assert counts_of(folder / "test").items() <= counts.items()
    assert list((folder / "test" / "pictures").rglob("*.png"))
    annotations = Path("spots.csv").rename("elsewhere.csv")
    run("predict", "--ckpt_path", folder, "--data.init_args.predict_dir=images")
    results = folder / "predict"
    found = {}
    for name in counts:
        described = json.loads((results / "predictions" / f"{name}.objects.json").read_text())
        assert (described["category"], described["height"], described["width"]) == ("spot", *SIZE)
        found[name] = len(described["objects"])
        with Image.open(results / "predictions" / f"{name}.png") as picture:
            assert picture.mode == "RGB"
            assert np.ptp(np.asarray(picture)) > 100
    coco = json.loads((results / "coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == sorted(counts)
    assert [category["name"] for category in coco["categories"]] == ["spot"]
    assert len(coco["annotations"]) == sum(found.values()) > 0
    assert annotations.is_file()
    if suffix == ".png":  # what was found serves as annotations
        run("test", "--ckpt_path", folder, f"--data.init_args.annotations={results / 'coco.json'}")
        (again,) = (path for path in folder.glob("test*") if path.name != "test")
        assert counts_of(again)
        assert counts_of(again).items() <= found.items()


def test_a_network_for_other_channels_is_told_before_training(refuse: Refuse) -> None:
    write_spots(1, 8, ".png")
    options = "--model.init_args.network.init_args.backbone.init_args.in_channels=3"
    (line,) = refuse("fit", *arguments_of(1, options))
    assert "cannot take an input of shape [1, 1, 64, 80]: set --model.init_args.network.init_args.backbone" in line
    assert "init_args.in_channels=1" in line
    assert not list(Path("runs").rglob("*.ckpt"))
