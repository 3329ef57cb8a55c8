"""``check`` looks at the data of every experiment, small data of its layout."""

from pathlib import Path

import pytest
import yaml
from PIL import Image

import cli
from tests.configs.small_data import CONFIGS, EXPERIMENTS, data_arguments

ONE_EACH = {
    yaml.safe_load((CONFIGS / name).read_text())["data"]["class_path"].rpartition(".")[2]: name
    for name in [
        *(*EXPERIMENTS, "digits/lenet.yaml", "cifar10/lenet_acda.yaml", "cifar100/lenet.yaml"),
        *("own/denoising.yaml", "sample_photos/denoising_acda.yaml"),
    ]
}
"""An experiment for each data module."""
CHECKED_QUICKLY = ("DigitsDataModule", "CIFAR10DataModule", "ImageNetDataModule", "UCFQNRFDataModule", "SIDDDataModule")


@pytest.mark.parametrize(
    "module", [pytest.param(name, marks=() if name in CHECKED_QUICKLY else pytest.mark.slow) for name in ONE_EACH]
)
def test_data_is_checked(
    module: str,
    data_dir: Path,
    own_images: tuple[Path, set[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is wrong with it, and as many images are counted as each split has samples, or pairs with patches."""
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load((CONFIGS / ONE_EACH[module]).read_text())
    arguments = [x for x in data_arguments(config, data_dir, own_images) if x.startswith("--data")]
    if module == "TexturesDataModule":  # which takes its time to draw them
        arguments += [f"--data.init_args.num_{split}={count}" for split, count in IMAGES[module].items()]
    Path("data.yaml").write_text(yaml.safe_dump({"data": config["data"]}))
    cli.main(["check", "--config", "data.yaml", *arguments])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "Contact sheet: runs/check/check.png"
    counted = {line.split()[0]: int(line.split()[1].replace(",", "")) for line in lines[1:4]}
    assert counted == IMAGES[module]
    with Image.open("runs/check/check.png") as sheet:
        assert sheet.width == 1280


IMAGES = {
    name: dict(zip(("train", "val", "test"), counts, strict=True))
    for name, counts in {
        "CIFAR10DataModule": (90, 10, 20),
        "CIFAR100DataModule": (900, 100, 100),
        "ShanghaiTechDataModule": (11, 1, 4),
        "SyntheticCrowdDataModule": (5, 1, 3),
        "UCFQNRFDataModule": (5, 1, 4),
        "DigitsDataModule": (899, 359, 539),
        "ImageNetDataModule": (35, 20, 20),
        "StreamingImageNetDataModule": (35, 20, 20),
        "LabelledImagesDataModule": (24, 5, 6),
        "PointsDataModule": (6, 2, 4),
        "CleanPhotosDataModule": (2, 2, 2),
        "PairedFoldersDataModule": (2, 2, 2),
        "RealSRDataModule": (8, 2, 4),
        "SIDDDataModule": (8, 2, 6),
        "SamplePhotosDataModule": (20, 8, 12),
        "TexturesDataModule": (40, 20, 30),
        "PatternsDataModule": (1, 1, 1),
    }.items()
}
"""How many the writers write, by split."""
