"""Images of one's own with one channel, or many, from a configuration to restored files."""

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from tests.cli.conftest import Refuse, run
from tests.support.restoration_files import write_pairs

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[2] / "configs" / "own"


def arguments_of(config: str, channels: int, *options: str) -> list[object]:
    """What runs a configuration on these images."""
    network = "--model.init_args.network.init_args"
    arguments = ["--config", CONFIGS / f"{config}.yaml", "--trainer.accelerator=cpu", *options]
    arguments += [f"{network}.in_channels={channels}", f"{network}.out_channels={channels}"]
    data = {"channels": channels, "clean_dir": "pairs/clean", "predict_dir": "pairs/degraded", "num_workers": 0}
    data |= {"val_fraction": 0.3, "test_fraction": 0.3, "patch_size": 24, "patches_per_image": 4, "batch_size": 4}
    arguments += [f"--data.init_args.{name}={value}" for name, value in data.items()]
    return [*arguments, "--trainer.max_epochs=1", "--trainer.log_every_n_steps=1"]


def restore(config: str, channels: int, *options: str) -> Path:
    """Train, test and predict the degraded images; returns the run's folder."""
    arguments = arguments_of(config, channels, *options)
    run("fit", *arguments)
    run("test", *arguments, "--ckpt_path=best")
    run("predict", *arguments, "--ckpt_path=best")
    return Path("runs", "own", config, "version_0")


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("config", ["denoising", "restoration_pairs"])
def test_grey_images_are_restored_as_one_channel(config: str, bits: int) -> None:
    write_pairs(Path("pairs"), channels=1, bits=bits)
    folder = restore(config, 1, *(["--data.init_args.degraded_dir=pairs/degraded"] if "pairs" in config else []))
    with (folder / "test" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    for row in rows:
        if config == "restoration_pairs":
            pair = [
                np.asarray(Image.open(Path("pairs", side, row["id"])), np.float64) for side in ("clean", "degraded")
            ]
            clean, degraded = (np.rint(pixels * 255 / (2**bits - 1)) for pixels in pair)
            expected = peak_signal_noise_ratio(clean, degraded, data_range=255)
            assert float(row["psnr_input"]) == pytest.approx(expected, abs=1e-3)
    restored = sorted((folder / "predict" / "predictions").iterdir())
    assert [path.name for path in restored] == [f"photo_{number}.png" for number in range(6)]
    for path in restored:
        with Image.open(path) as image, Image.open(Path("pairs", "degraded", path.name)) as came:
            assert (image.mode, image.size) == (("L" if bits == 8 else "I;16"), came.size)
            assert 0 < np.abs(np.asarray(image, float) - np.asarray(came, float)).mean() < 2**bits / 4


def test_images_of_many_channels_are_restored_to_pages() -> None:
    write_pairs(Path("pairs"), channels=5, bits=16)
    folder = restore("restoration_pairs", 5, "--data.init_args.degraded_dir=pairs/degraded")
    for number in range(6):
        came = np.load(f"pairs/degraded/photo_{number}.npy")
        restored = tifffile.imread(folder / "predict" / "predictions" / f"photo_{number}.npy.tif")
        assert (restored.shape, restored.dtype) == ((5, *came.shape[:2]), np.uint16)
    pictures = list((folder / "test" / "pictures").rglob("*.png"))
    assert pictures


def test_what_does_not_fit_many_channels_is_told_in_a_line(refuse: Refuse) -> None:
    write_pairs(Path("pairs"), channels=5)
    (line, *_) = refuse("fit", *arguments_of("super_resolution", 5))
    assert "protocol must be sidd, which scores all channels jointly" in line
    jpeg = "--data.init_args.degradation=datamodules.restoration.degradations.JPEG"
    (line, *_) = refuse("fit", *arguments_of("denoising", 5), jpeg, code=1)
    assert "channels must be 1 or 3 for JPEG, got 5" in line


def test_pairs_are_mixed_with_photographs_that_are_degraded() -> None:
    """Of two pairs and of two photographs, the others being held out, four patches each: 16, in batches of four."""
    write_pairs(Path("pairs"))
    Path("mixed.yaml").write_text(
        "data:\n  init_args:\n    mix_with:\n"
        "      - class_path: datamodules.CleanPhotosDataModule\n"
        "        init_args:\n"
        "          clean_dir: pairs/clean\n          patch_size: 24\n          patches_per_image: 4\n"
        "          val_fraction: 0.3\n          test_fraction: 0.3\n"
        "          degradation:\n            class_path: datamodules.restoration.degradations.GaussianNoise\n"
    )
    options = ["--data.init_args.degraded_dir=pairs/degraded", "--config", "mixed.yaml"]
    run("fit", *arguments_of("restoration_pairs", 3, *options))
    with Path("runs/own/restoration_pairs/version_0/metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert max(steps) == 4
