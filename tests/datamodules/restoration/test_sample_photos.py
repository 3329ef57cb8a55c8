import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image
from scipy.io import loadmat
from skimage.metrics import peak_signal_noise_ratio
from sklearn.datasets import load_sample_image

from datamodules import RealSRDataModule, SamplePhotosDataModule, SIDDDataModule
from datamodules.batches import DegradedBatch
from datamodules.restoration import sample_photo_files
from datamodules.restoration.sample_photo_files import TEST, TRAIN, VALIDATION, read_photograph
from datamodules.samples import SampleSet
from datamodules.types import Pixels

HEIGHT, WIDTH = 260, 280
TASKS = ("denoising", "super_resolution")


@cache
def small_photograph(name: str) -> Any:
    return read_photograph(name)[-HEIGHT:, :WIDTH]


def pixels_of(name: str) -> Pixels:
    return np.rint(255 * small_photograph(name)).astype(np.uint8)


@pytest.fixture(scope="module", autouse=True)
def small_photographs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample_photo_files, "read_photograph", small_photograph)
        yield


def module(root: Path, task: Any, **arguments: Any) -> SamplePhotosDataModule:
    loading: dict[str, Any] = {"scale": 2, "num_workers": 0, "patch_size": 32, "patches_per_image": 3}
    return SamplePhotosDataModule(task, str(root), **loading | arguments)


@pytest.fixture(scope="module")
def root(small_photographs: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data sets of both tasks; not to be changed, but for what is converted."""
    folder = tmp_path_factory.mktemp("sample_photos")
    for task in TASKS:
        module(folder, task).prepare_data()
    return folder


@pytest.fixture
def denoising(root: Path) -> Path:
    return root / "denoising_seed0_edition1"


@pytest.fixture
def super_resolution(root: Path) -> Path:
    return root / "super_resolution_seed0_edition1"


def read(path: Path) -> Pixels:
    return np.asarray(Image.open(path))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.[pP][nN][gG]")}


def batch_ids(samples: SampleSet[Any]) -> list[str]:
    return [samples[index].id[0] for index in range(len(samples))]


def targets(samples: SampleSet[Any]) -> list[Pixels]:
    batches = [samples[index] for index in range(len(samples))]
    return [(255 * batch.target[0].permute(1, 2, 0)).round().numpy().astype(np.uint8) for batch in batches]


def corners(name: str) -> list[Pixels]:
    pixels = pixels_of(name)
    return [pixels[:256, :256], pixels[-256:, -256:]]


@pytest.mark.parametrize("name", TRAIN + VALIDATION + TEST)
def test_photographs_are_installed(name: str) -> None:
    image = read_photograph(name)
    assert (image.ndim, image.shape[2], image.dtype) == (3, 3, np.float32)
    assert min(image.shape[:2]) >= 300
    assert image[..., 0].size <= 1_000_000
    assert 0 <= image.min() < image.max() <= 1
    assert image.std() > 0.03


def test_photographs_are_those_of_the_packages() -> None:
    expected = {
        "chelsea.png": skimage.data.chelsea(),
        "coins.png": np.stack([skimage.data.coins()] * 3, -1),
        "china.jpg": load_sample_image("china.jpg"),
    }
    for name, pixels in expected.items():
        np.testing.assert_allclose(read_photograph(name) * 255, pixels, atol=1)  # decoders of JPEG round differently


def test_no_photograph_is_in_two_splits() -> None:
    assert len({*TRAIN, *VALIDATION, *TEST}) == 10 + 2 + 3


def test_denoising_is_written_as_sidd_is_published(denoising: Path) -> None:
    scenes = sorted((denoising / "SIDD_Medium_Srgb" / "Data").iterdir())
    assert len({scene.name.split("_")[1] for scene in scenes}) == len(scenes) == len(TRAIN)
    for number, (scene, name) in enumerate(zip(scenes, TRAIN, strict=True), 1):
        names = [f"{number:04d}_{kind}_SRGB_{draw}.PNG" for kind in ("GT", "NOISY") for draw in ("010", "011")]
        assert sorted(path.name for path in scene.iterdir()) == names
        *clean, noisy, other = (read(scene / name) for name in names)
        assert not np.array_equal(noisy, other)
        for image, original in zip((noisy, other), clean, strict=True):
            np.testing.assert_array_equal(original, pixels_of(name))
            assert 22 < peak_signal_noise_ratio(original, image) < 33


@pytest.mark.parametrize(("folder", "names"), [("", TEST), ("validation", VALIDATION)])
def test_blocks_are_written_as_sidd_is_published(denoising: Path, folder: str, names: tuple[str, ...]) -> None:
    variables = "ValidationNoisyBlocksSrgb", "ValidationGtBlocksSrgb"
    noisy, clean = (loadmat(denoising / folder / f"{variable}.mat")[variable] for variable in variables)
    assert (noisy.shape, noisy.dtype) == ((2 * len(names), 2, 256, 256, 3), np.uint8)
    np.testing.assert_array_equal(clean, [corners(name) for name in names for _ in range(2)])
    assert all(22 < peak_signal_noise_ratio(*pair) < 33 for pair in zip(clean, noisy, strict=True))
    assert len({block.tobytes() for block in noisy[:, 0]}) == len(noisy)


@pytest.mark.parametrize(
    ("folder", "names"),
    [("Canon/Train/2", TRAIN), ("Canon/Test/2", TEST), ("validation/Canon/Test/2", VALIDATION)],
)
def test_super_resolution_is_written_as_realsr_is_published(
    super_resolution: Path, folder: str, names: tuple[str, ...]
) -> None:
    numbers = range(1, len(names) + 1)
    written = sorted(path.name for path in (super_resolution / folder).iterdir())
    assert written == sorted(f"Canon_{number:03d}_{kind}.png" for number in numbers for kind in ("HR", "LR2"))
    for number, name in zip(numbers, names, strict=True):
        high, low = (read(super_resolution / folder / f"Canon_{number:03d}_{kind}.png") for kind in ("HR", "LR2"))
        np.testing.assert_array_equal(high, pixels_of(name))
        assert 18 < peak_signal_noise_ratio(high, low) < 50
        steps = [np.abs(np.diff(image.astype(float), axis=0)).mean() for image in (low, high)]
        assert steps[0] < steps[1]  # detail is lost


@pytest.mark.parametrize("task", TASKS)
def test_splits_hold_the_photographs_that_are_documented(root: Path, task: str) -> None:
    data = module(root, task)
    data.setup("fit")
    data.setup("test")
    train = {name.split("/")[0] if task == "denoising" else name[-12:-9] for name in batch_ids(data.train_samples())}
    assert len(train) == len(TRAIN)
    parts = (lambda name: 2 * corners(name)) if task == "denoising" else (lambda name: [pixels_of(name)])
    for samples, names in ((data.val_samples(), VALIDATION), (data.test_samples(), TEST)):
        np.testing.assert_array_equal(targets(samples), [part for name in names for part in parts(name)])


@pytest.mark.parametrize(("task", "count"), [("denoising", 2 * 10 * 3), ("super_resolution", 10 * 3)])
def test_batches(root: Path, task: str, count: int) -> None:
    data = module(root, task, batch_size=5)
    batches = list(data.train_dataloader())
    assert sum(len(batch.id) for batch in batches) in (count, count - 1)  # a single one left over is left out
    assert batches[0].image.shape == batches[0].target.shape == (5, 3, 32, 32)
    shape = (256, 256) if task == "denoising" else (HEIGHT, WIDTH)
    assert all(batch.image.shape == (1, 3, *shape) for batch in [*data.val_dataloader(), *data.test_dataloader()])


def test_sidds_own_module_reads_the_folder_and_keeps_the_noises_of_a_photograph_together(denoising: Path) -> None:
    data = SIDDDataModule(str(denoising), num_workers=0, patch_size=32, patches_per_image=1, val_fraction=0.3)
    train, val = (
        {name.split("/")[0] for name in batch_ids(part)} for part in (data.train_samples(), data.val_samples())
    )
    assert (len(train), len(val), train & val) == (7, 3, set())
    assert len(data.train_samples()) == 14
    assert len(data.test_samples()) == 12


def test_realsrs_own_module_reads_the_folder(super_resolution: Path) -> None:
    data = RealSRDataModule(
        str(super_resolution), scale=2, cameras="Canon", num_workers=0, patch_size=32, val_fraction=0.3
    )
    assert len(data.val_samples()) == 3
    assert len(data.test_samples()) == 3


@pytest.mark.parametrize("task", TASKS)
def test_one_setting_never_uses_or_changes_files_of_another(root: Path, tmp_path: Path, task: str) -> None:
    folder = f"{task}_seed0_edition1"
    shutil.copytree(root / folder, tmp_path / folder)
    before = contents(tmp_path / folder)
    other = module(tmp_path, task, data_seed=1)
    other.prepare_data()
    assert contents(tmp_path / folder) == before
    after = contents(tmp_path / folder.replace("seed0", "seed1"))
    assert after.keys() == before.keys()
    degraded = [name for name in after if "LR" in name or "NOISY" in name]
    assert all(after[name] != before[name] for name in degraded)
    assert all(after[name] == before[name] for name in after.keys() - set(degraded))


def test_scales_are_written_beside_each_other(root: Path, tmp_path: Path, super_resolution: Path) -> None:
    shutil.copytree(super_resolution, tmp_path / super_resolution.name)
    data = module(tmp_path, "super_resolution", scale=3)
    data.prepare_data()
    assert {name.split("_")[-1] for name in batch_ids(data.test_samples())} == {"LR3.png"}
    assert contents(super_resolution).items() <= contents(tmp_path / super_resolution.name).items()


def test_what_is_missing_is_written_again_alike_and_nothing_else(tmp_path: Path, root: Path) -> None:
    folder = tmp_path / "denoising_seed0_edition1"
    shutil.copytree(root / folder.name, folder)
    before = contents(folder)
    first, *_, last = sorted(folder.rglob("*NOISY*.PNG"))
    first.unlink()
    last.write_bytes(last.read_bytes()[:1000])
    kept = {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*.PNG")
        if path.parent not in (first.parent, last.parent)
    }
    module(tmp_path, "denoising").prepare_data()
    assert contents(folder) == before
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


@pytest.mark.parametrize("task", TASKS)
def test_images_to_predict(root: Path, tmp_path: Path, task: str) -> None:
    Image.fromarray(pixels_of("coffee.png")[:20, :30]).save(tmp_path / "mine.png")
    (batch,) = module(root, task, predict_dir=str(tmp_path)).predict_dataloader()
    assert isinstance(batch, DegradedBatch)
    assert (batch.image.shape, batch.id) == ((1, 3, 20, 30), ["mine.png"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "deblurring"}, "task must be one of denoising, super_resolution, got 'deblurring'"),
        ({"data_seed": -1}, "data_seed must be at least 0, got -1"),
        ({"patch_size": 0}, "patch_size must be at least 1, got 0"),
        ({"task": "super_resolution", "scale": 5}, "scale must be one of 2, 3, 4, got 5"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        SamplePhotosDataModule(**arguments)
