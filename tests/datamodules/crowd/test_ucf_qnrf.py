import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from datamodules import DataError, UCFQNRFDataModule
from datamodules.batches import CrowdBatch
from datamodules.types import Points
from tests.support.crowd_files import Annotations, write_ucf_qnrf

TRAIN, TEST = 6, 4


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Annotations]:
    """A folder with a small UCF-QNRF, and its annotations; not to be changed."""
    root = tmp_path_factory.mktemp("ucf_qnrf")
    return root, write_ucf_qnrf(root, train=TRAIN, test=TEST)


@pytest.fixture
def own(written: tuple[Path, Annotations], tmp_path: Path) -> Path:
    """A copy to be changed."""
    return shutil.copytree(written[0], tmp_path / "own")


def module(root: Path, **arguments: Any) -> UCFQNRFDataModule:
    small = {"num_workers": 0, "batch_size": 2, "crop_size": 48, "val_fraction": 0.2}
    return UCFQNRFDataModule(str(root), **(small | arguments))


def all_of(data: UCFQNRFDataModule, split: str) -> list[CrowdBatch]:
    return list(getattr(data, f"{split}_dataloader")())


def at_stage(data: UCFQNRFDataModule, stage: str) -> UCFQNRFDataModule:
    data.trainer = SimpleNamespace(world_size=1, global_rank=0, state=SimpleNamespace(fn=stage))
    return data


def test_without_resizing_images_are_as_published(written: tuple[Path, Annotations]) -> None:
    root, annotations = written
    data = module(root, resize="none")
    data.prepare_data()
    batches = all_of(data, "test")
    assert [batch.id for batch in batches] == [[f"Test/img_{number:04d}.jpg"] for number in range(1, TEST + 1)]
    for batch in batches:
        with Image.open(root / batch.id[0]) as file:
            width, height = file.size
        annotated = annotations[batch.id[0]]
        assert batch.image.shape == (1, 3, height, width)
        inside = np.clip(annotated, 0, (width - 1, height - 1)).astype(np.float32)
        assert np.array_equal(batch.points[0].numpy().reshape(-1, 2), inside.reshape(-1, 2))
        assert batch.num_heads.tolist() == [len(annotated)]
        assert batch.density.sum().item() == pytest.approx(len(annotated), abs=1e-4)
    assert not list(root.glob("resized*"))


def test_resized_images_keep_all_heads_where_they_are(own: Path) -> None:
    published, resized = module(own, resize="none"), module(own)
    for split in ("train", "val", "test"):
        for batch in all_of(resized, split):
            assert batch.num_heads.tolist() == [len(points) for points in batch.points]
    for before, after in zip(all_of(published, "test"), all_of(resized, "test"), strict=True):
        assert (after.id, after.num_heads.tolist()) == (before.id, before.num_heads.tolist())
        assert min(after.image.shape[2:]) == 512
        factors = torch.tensor(after.image.shape[:1:-1]) / torch.tensor(before.image.shape[:1:-1])
        assert torch.allclose((before.points[0] + 0.5) * factors - 0.5, after.points[0], atol=0.01 * 512)
        # The same spots, enlarged: averaged back they are the image as it was, but for compression and smoothing.
        back = torch.nn.functional.interpolate(after.image, before.image.shape[2:], mode="area")
        assert (back - before.image).abs().mean() < 0.1


def write_blobs(path: Path, height: int, width: int) -> Points:
    """Write a large photograph with smooth blobs, and its annotation; returns their centres."""
    random = np.random.RandomState(0)
    points = np.mgrid[80 : width - 60 : 160, 80 : height - 60 : 160].reshape(2, -1).T + random.uniform(-9, 9, (1, 2))
    rows, columns = np.arange(height)[:, None], np.arange(width)
    image = np.zeros((height, width))
    for x, y in points:
        window = slice(int(y) - 60, int(y) + 60), slice(int(x) - 60, int(x) + 60)
        image[window] += np.exp(-((columns[window[1]] - x) ** 2 + (rows[window[0]] - y) ** 2) / (2 * 6**2))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * image).round().astype(np.uint8)).save(path, quality=95)
    savemat(path.with_name(f"{path.stem}_ann.mat"), {"annPoints": points})
    return points


@pytest.mark.parametrize(
    ("rule", "factor"), [("fit_1024", 1024 / 1300), ("long_1536", 1), ("short_512_2048", 512 / 400)]
)
def test_points_and_pixels_are_resized_alike(tmp_path: Path, rule: Any, factor: float) -> None:
    points = write_blobs(tmp_path / "Test" / "img_0001.jpg", 400, 1300)
    data = module(tmp_path, resize=rule)
    batch = all_of(data, "test")[0]
    np.testing.assert_allclose(batch.points[0], (points + 0.5) * factor - 0.5, atol=0.5)
    light = (batch.image[0, 0] - batch.image[0, 0].min()).double()
    offsets = []
    for x, y in batch.points[0].tolist():
        top, left = round(y) - 35, round(x) - 35
        window = light[top : top + 71, left : left + 71]
        rows, columns = torch.meshgrid(torch.arange(top, top + 71), torch.arange(left, left + 71), indexing="ij")
        offsets.append([(window * columns).sum() / window.sum() - x, (window * rows).sum() / window.sum() - y])
    assert np.abs(np.mean(offsets, 0)).max() < 0.03


def test_images_are_resized_once(own: Path) -> None:
    data = module(own)
    data.prepare_data()
    assert {path.name for path in (own / "resized_short_512_2048").iterdir()} == {"Train", "Test"}
    converted = sorted((own / "resized_short_512_2048").rglob("*.jpg"))
    assert len(converted) == TRAIN + TEST
    times = {path: path.stat().st_mtime_ns for path in converted}
    first = all_of(data, "test")
    again = module(own)
    again.prepare_data()
    for batch, expected in zip(all_of(again, "test"), first, strict=True):
        assert torch.equal(batch.image, expected.image)
    assert {path: path.stat().st_mtime_ns for path in converted} == times


def test_setup_resizes_what_was_not_prepared(own: Path) -> None:
    module(own).setup("test")
    assert len(list((own / "resized_short_512_2048" / "Test").glob("*.jpg"))) == TEST
    assert not (own / "resized_short_512_2048" / "Train").exists()


@pytest.mark.parametrize(
    ("stage", "validate_on", "splits"),
    [
        ("fit", "held_out", {"Train"}),
        ("fit", "test", {"Train", "Test"}),
        ("validate", "held_out", {"Train"}),
        ("validate", "test", {"Test"}),
        ("test", "held_out", {"Test"}),
        ("predict", "held_out", set()),
    ],
)
def test_what_a_stage_needs_is_prepared(own: Path, stage: str, validate_on: str, splits: set[str]) -> None:
    data = at_stage(module(own, validate_on=validate_on, predict_dir=str(own / "Test")), stage)
    data.prepare_data()
    cache = own / "resized_short_512_2048"
    prepared = {path: path.stat().st_mtime_ns for path in cache.rglob("*")} if cache.exists() else {}
    assert {path.name for path in prepared if path.is_dir()} == splits
    data.setup(stage)
    assert {path: path.stat().st_mtime_ns for path in prepared} == prepared


def test_a_changed_image_is_resized_again(own: Path) -> None:
    module(own).prepare_data()
    image = own / "Test" / "img_0002.jpg"
    Image.new("RGB", (50, 60), (255, 0, 0)).save(image)
    os.utime(image, (1, 1))
    batch = all_of(module(own), "test")[1]
    assert batch.image.shape == (1, 3, 614, 512)
    assert batch.image[0, 0].min() > 2
    assert batch.image[0, 1].max() < -1.5


def test_images_of_the_right_size_are_not_stored_again(tmp_path: Path) -> None:
    write_blobs(tmp_path / "Test" / "img_0001.jpg", 600, 520)
    data = module(tmp_path)
    assert all_of(data, "test")[0].image.shape == (1, 3, 600, 520)
    assert not (tmp_path / "resized_short_512_2048").exists()


def test_rules_do_not_share_their_files(own: Path, tmp_path: Path) -> None:
    write_blobs(own / "Test" / "img_0001.jpg", 2200, 2200)
    sides = {}
    for rule in ("short_512_2048", "fit_1024", "long_1536"):
        data = module(own, resize=rule, cache_dir=str(tmp_path / "cache"))
        sides[rule] = max(all_of(data, "test")[0].image.shape)
    assert sides == {"short_512_2048": 2048, "fit_1024": 1024, "long_1536": 1536}
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {f"resized_{rule}" for rule in sides}
    assert not list(own.glob("resized*"))


def test_where_nothing_can_be_written_cache_dir_is_the_remedy(own: Path) -> None:
    (own / "resized_short_512_2048").touch()
    with pytest.raises(
        DataError, match=r"^'.*/resized_short_512_2048/Test' cannot be written to .*cache_dir=FOLDER\.$"
    ):
        module(own).setup("test")


def test_the_published_archive_s_folder_is_found(own: Path, tmp_path: Path) -> None:
    own.rename(tmp_path / "UCF-QNRF_ECCV18")
    assert len(all_of(module(tmp_path, resize="none"), "test")) == TEST


def test_training_takes_crops(written: tuple[Path, Annotations]) -> None:
    torch.manual_seed(0)
    sample = UCFQNRFDataModule(str(written[0]), resize="none").train_samples()[0]
    assert sample.image.shape == (1, 3, 512, 512)
    for batch in all_of(module(written[0], resize="none"), "train"):
        assert batch.image.shape[1:] == (3, 48, 48)
        assert batch.density.sum().item() == pytest.approx(batch.num_heads.sum().item(), abs=1e-3)


def test_prediction_resizes_by_the_rule(tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.new("RGB", (30, 20), (9, 99, 199)).save(folder / "small.png")
    Image.new("L", (1100, 600), 77).save(folder / "wide.png")
    for rule, sizes in {"short_512_2048": [(512, 768), (600, 1100)], "fit_1024": [(20, 30), (559, 1024)]}.items():
        data = at_stage(module(tmp_path / "absent", resize=rule, predict_dir=str(folder)), "predict")
        data.prepare_data()
        data.setup("predict")
        batches = list(data.predict_dataloader())
        assert [tuple(batch.image.shape[2:]) for batch in batches] == sizes
        assert [batch.original_size.tolist() for batch in batches] == [[[20, 30]], [[600, 1100]]]
        assert [batch.id for batch in batches] == [["small.png"], ["wide.png"]]
        blue = (199 / 255 - 0.406) / 0.225
        assert (batches[0].image[0, 2] - blue).abs().max() < 1e-4


def test_damage_is_named(own: Path) -> None:
    image = own / "Test" / "img_0002.jpg"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(DataError, match=r"^'.*Test/img_0002\.jpg' cannot be read as an image: .*truncated"):
        module(own).setup("test")
    (own / "Train" / "img_0004_ann.mat").write_bytes(b"no annotation")
    with pytest.raises(DataError, match=r"^'.*Train/img_0004_ann\.mat' cannot be used"):
        module(own).setup("fit")


def test_missing_data_is_named(tmp_path: Path, own: Path) -> None:
    with pytest.raises(DataError, match=r"^data_dir='.*absent' does not exist\. Name the folder that holds Train/ and"):
        module(tmp_path / "absent").setup("fit")
    (own / "Train" / "img_0003_ann.mat").unlink()
    with pytest.raises(DataError, match=r"lacks the annotations of 1 images .*: img_0003\.jpg \(img_0003_ann\.mat\)"):
        module(own).setup("fit")
    shutil.rmtree(own / "Test")
    with pytest.raises(DataError, match=r"^'.*/Test' is missing or holds no images"):
        module(own).setup("test")


def test_an_unknown_rule_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^resize must be one of short_512_2048, fit_1024, long_1536, none, got 'big'$"
    ):
        module(tmp_path, resize="big")
