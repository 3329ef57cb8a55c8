import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from datamodules import DataError, ShanghaiTechDataModule
from datamodules.batches import CrowdBatch, PhotographBatch
from datamodules.samples import collate
from tests.support.crowd_files import Annotations, write_image_info, write_shanghaitech
from tests.support.image_files import ImageFiles

TRAIN, TEST = 12, 4


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Annotations]:
    """A folder with part A, and its annotations; not to be changed."""
    root = tmp_path_factory.mktemp("shanghaitech")
    return root, write_shanghaitech(root, train=TRAIN, test=TEST)


@pytest.fixture
def own(written: tuple[Path, Annotations], tmp_path: Path) -> Path:
    """A copy to be changed; the part's folder."""
    return shutil.copytree(written[0], tmp_path / "own") / "part_A"


def module(root: Path, **arguments: Any) -> ShanghaiTechDataModule:
    defaults: dict[str, Any] = {"num_workers": 0, "batch_size": 4, "crop_size": 48, "crops_per_image": 1}
    return ShanghaiTechDataModule(str(root), **(defaults | arguments))


def all_of(data: ShanghaiTechDataModule, split: str) -> list[CrowdBatch]:
    return list(getattr(data, f"{split}_dataloader")())


def ids_of(batches: list[CrowdBatch]) -> list[str]:
    return [name for batch in batches for name in batch.id]


def reference(path: Path) -> Tensor:
    steps = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    with Image.open(path) as file:
        image: Tensor = v2.Compose(steps)(file.convert("RGB"))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (image - mean[:, None, None]) / std[:, None, None]


def test_evaluation_takes_whole_images(written: tuple[Path, Annotations]) -> None:
    root, annotations = written
    batches = all_of(module(root), "test")
    assert ids_of(batches) == [f"test_data/images/IMG_{number}.jpg" for number in range(1, TEST + 1)]
    for batch in batches:
        annotated = annotations[batch.id[0]]
        image = reference(root / "part_A" / batch.id[0])
        height, width = image.shape[1:]
        assert (batch.image.dtype, batch.image.shape) == (torch.float32, (1, 3, height, width))
        assert (batch.image[0] - image).abs().max() < 1e-5
        assert (batch.density.dtype, batch.density.shape) == (torch.float32, (1, 1, height, width))
        assert (batch.num_heads.dtype, batch.num_heads.tolist()) == (torch.int64, [len(annotated)])
        assert batch.density.sum().item() == pytest.approx(len(annotated), abs=1e-4)
        inside = np.clip(annotated, 0, (width - 1, height - 1)).astype(np.float32)
        assert batch.points[0].dtype == torch.float32
        assert np.array_equal(batch.points[0].numpy().reshape(-1, 2), inside.reshape(-1, 2))


def test_density_is_high_where_the_heads_are(written: tuple[Path, Annotations]) -> None:
    sharp = all_of(module(written[0], sigma=0.1, kernel_size=3), "test")
    for batch in sharp:
        expected = np.zeros(batch.density.shape[2:])
        for x, y in batch.points[0].numpy():
            expected[round(float(y)), round(float(x))] += 1
        np.testing.assert_allclose(batch.density[0, 0], expected, atol=1e-6)


def test_training_takes_crops(written: tuple[Path, Annotations]) -> None:
    torch.manual_seed(0)
    data = module(written[0])
    batches = all_of(data, "train")
    assert [len(batch.id) for batch in batches] == [4, 4, 3]  # one of 12 is held out
    for batch in batches:
        assert (batch.image.dtype, batch.image.shape[1:]) == (torch.float32, (3, 48, 48))
        assert (batch.density.dtype, batch.density.shape[1:]) == (torch.float32, (1, 48, 48))
        assert batch.num_heads.tolist() == [len(points) for points in batch.points]
        for density, points in zip(batch.density, batch.points, strict=True):
            assert density.sum().item() == pytest.approx(len(points), abs=1e-3)


def test_crops_are_as_large_as_documented(tmp_path: Path) -> None:
    for part, side in (("A", 256), ("B", 512)):
        write_shanghaitech(tmp_path, part, train=6, test=1)
        sample = ShanghaiTechDataModule(str(tmp_path), part, augmentation="none").train_samples()[0]
        assert sample.image.shape == (1, 3, side, side)


def test_large_images_give_more_crops(written: tuple[Path, Annotations]) -> None:
    data = module(written[0], crop_size=32, crops_per_image=None, validate_on="test")
    given = Counter(batch.id[0] for batch in map(data.train_samples().__getitem__, range(len(data.train_samples()))))
    for name, (height, width) in zip(data.train_files.ids, data.train_files.sizes, strict=True):
        assert given[name] == max(1, round(height * width / 32**2))
    assert len(set(given.values())) > 1
    assert len(module(written[0], crops_per_image=3, validate_on="test").train_samples()) == 3 * len(given)


@pytest.mark.parametrize("part_name", ["part_{}", "part_{}_final"])
@pytest.mark.parametrize("annotations_name", ["ground-truth", "ground_truth"])
@pytest.mark.parametrize("above", ["", "ShanghaiTech"])
def test_all_spellings_are_the_same_data(
    written: tuple[Path, Annotations], tmp_path: Path, part_name: str, annotations_name: str, above: str
) -> None:
    arguments: dict[str, Any] = {"train": TRAIN, "test": TEST, "annotations_name": annotations_name}
    write_shanghaitech(tmp_path / above, part_name=part_name, **arguments)
    for root in (tmp_path, tmp_path / above / part_name.format("A")):
        for split in ("val", "test"):
            for batch, expected in zip(all_of(module(root), split), all_of(module(written[0]), split), strict=True):
                assert batch.id == expected.id
                assert torch.equal(batch.image, expected.image)
                assert torch.equal(batch.density, expected.density)


def test_own_files_under_the_other_spelling_are_left_out(own: Path) -> None:
    (own / "test_data" / "ground_truth").mkdir()
    (own / "test_data" / "ground_truth" / "IMG_1.h5").touch()
    assert len(all_of(module(own), "test")) == TEST
    (own / "test_data" / "ground-truth").rename(own / "test_data" / "kept")
    (own / "test_data" / "ground_truth").rename(own / "test_data" / "ground-truth")
    (own / "test_data" / "kept").rename(own / "test_data" / "ground_truth")
    assert len(all_of(module(own), "test")) == TEST


def test_part_of_training_is_held_out(written: tuple[Path, Annotations]) -> None:
    data = module(written[0], val_fraction=0.25, batch_size=3)
    train, val, test = (ids_of(all_of(data, split)) for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (9, 3, TEST)
    assert set(train) | set(val) == {f"train_data/images/IMG_{number}.jpg" for number in range(1, TRAIN + 1)}
    assert all(name.startswith("test_data/") for name in test)
    assert ids_of(all_of(module(written[0], val_fraction=0.25), "val")) == val
    others = [ids_of(all_of(module(written[0], val_fraction=0.25, split_seed=seed), "val")) for seed in range(1, 4)]
    assert any(other != val for other in others)


def test_images_are_in_the_order_of_their_numbers(written: tuple[Path, Annotations]) -> None:
    expected = [f"train_data/images/IMG_{number}.jpg" for number in range(1, TRAIN + 1)]
    assert module(written[0]).train_files.ids == expected


def test_validation_on_the_test_images_is_said_to_be_that(
    written: tuple[Path, Annotations], caplog: pytest.LogCaptureFixture
) -> None:
    data = module(written[0], validate_on="test")
    data.setup("fit")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages[0].startswith("validate_on='test': validation takes the test images")
    assert ids_of(all_of(data, "val")) == ids_of(all_of(data, "test"))
    assert sorted(ids_of(all_of(data, "train"))) == sorted(data.train_files.ids)
    caplog.clear()
    module(written[0]).setup("fit")
    assert not caplog.records


def test_heads_moved_into_the_image_are_counted_once_a_split(
    written: tuple[Path, Annotations], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "datamodules")
    data = module(written[0])
    data.setup("fit")
    data.setup("validate")
    heads = sum(len(points) for name, points in written[1].items() if name.startswith("train"))
    place = written[0] / "part_A" / "train_data" / "images"
    # Two in each image of number 1, 5 and 9: at x = width and at y = height + 3.
    assert caplog.messages == [f"'{place}': {TRAIN} images, {heads} heads, 6 of them moved to their image's border"]


def test_coord_offset_is_subtracted(written: tuple[Path, Annotations]) -> None:
    for batch in all_of(module(written[0], coord_offset=1), "test"):
        height, width = batch.image.shape[2:]
        expected = np.clip(written[1][batch.id[0]] - 1, 0, (width - 1, height - 1)).reshape(-1, 2)
        np.testing.assert_allclose(batch.points[0].numpy(), expected, atol=1e-5)


def test_a_batch_can_be_changed_without_harm(written: tuple[Path, Annotations]) -> None:
    samples = module(written[0]).test_samples()
    before = samples[0].points[0].clone()
    samples[0].points[0].add_(1000)
    assert torch.equal(samples[0].points[0], before)


def test_the_camera_s_note_to_turn_is_ignored_where_heads_are_annotated(own: Path) -> None:
    name = "test_data/images/IMG_2.jpg"
    with Image.open(own / name) as file:
        size = file.size
        exif = Image.Exif()
        exif[0x0112] = 6
        file.save(own / name, quality=95, exif=exif)
    batch = all_of(module(own), "test")[1]
    assert batch.id == [name]
    assert batch.image.shape[2:] == batch.density.shape[2:] == size[::-1]
    assert (batch.image[0] - reference(own / name)).abs().max() < 1e-5


def test_epochs_follow_from_the_seed_for_any_number_of_workers(written: tuple[Path, Annotations]) -> None:
    epochs = []
    for num_workers in (1, 2):
        torch.manual_seed(3)
        epochs.append(collate(all_of(module(written[0], num_workers=num_workers), "train")))
    assert epochs[0].id == epochs[1].id
    assert torch.equal(epochs[0].image, epochs[1].image)
    assert torch.equal(epochs[0].density, epochs[1].density)


def test_prediction_needs_no_data_but_the_images(tmp_path: Path, odd_images: ImageFiles) -> None:
    folder, expected = odd_images
    data = module(tmp_path / "absent", predict_dir=str(folder))
    data.setup("predict")
    batches = list(data.predict_dataloader())
    assert all(isinstance(batch, PhotographBatch) for batch in batches)
    assert [name for batch in batches for name in batch.id] == sorted(expected)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for batch in batches:
        pixels = expected[batch.id[0]]
        assert batch.original_size.tolist() == [list(pixels.shape[:2])]
        assert batch.image.dtype == torch.float32
        image = batch.image[0].permute(1, 2, 0).numpy() * std + mean
        lossy, deep = batch.id[0].endswith(("jpg", "jpeg")), "16" in batch.id[0] or "32" in batch.id[0]
        np.testing.assert_allclose(image * 255, pixels, atol=4 if lossy else 1 if deep else 0.01)


def test_prediction_without_a_folder_is_refused(written: tuple[Path, Annotations]) -> None:
    with pytest.raises(DataError, match=r"^predict_dir is not given"):
        module(written[0]).setup("predict")


def test_missing_folders_are_named(tmp_path: Path, own: Path) -> None:
    remedy = r"Name the folder that holds part_A/ or part_A_final/: --data\.init_args\.data_dir=FOLDER\.$"
    with pytest.raises(DataError, match=rf"^data_dir='.*absent' does not exist\. {remedy}"):
        module(tmp_path / "absent").setup("fit")
    (tmp_path / "other" / "part_B").mkdir(parents=True)
    missing = r"holds no 'part_A' or 'part_A_final', nor does a folder in it\."
    with pytest.raises(DataError, match=rf"^data_dir='.*/other' {missing} {remedy}"):
        module(tmp_path / "other").setup("fit")
    shutil.rmtree(own / "train_data" / "ground-truth")
    with pytest.raises(DataError, match=r"^'.*train_data' has no folder 'ground-truth' or 'ground_truth'\. Put"):
        module(own).setup("fit")
    shutil.rmtree(own / "test_data" / "images")
    with pytest.raises(DataError, match=r"^'.*test_data/images' is missing or holds no images"):
        module(own).setup("test")


def test_files_without_partner_are_named(own: Path) -> None:
    (own / "train_data" / "images" / "IMG_3.jpg").unlink()
    with pytest.raises(DataError, match=r"lacks the images of 1 annotations in .*: GT_IMG_3\.mat\. Add"):
        module(own).setup("fit")
    (own / "test_data" / "ground-truth" / "GT_IMG_2.mat").unlink()
    with pytest.raises(DataError, match=r"lacks the annotations of 1 images in .*: IMG_2\.jpg \(GT_IMG_2\.mat\)\. Add"):
        module(own).setup("test")


def test_damage_is_named_before_anything_runs(own: Path) -> None:
    annotation = own / "train_data" / "ground-truth" / "GT_IMG_7.mat"
    whole = annotation.read_bytes()
    annotation.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"^'.*GT_IMG_7\.mat' cannot be used"):
        module(own).setup("fit")
    write_image_info(annotation, np.array([[1, np.nan]]))
    with pytest.raises(DataError, match=r"^'.*GT_IMG_7\.mat' .* not finite"):
        module(own).setup("fit")
    (own / "test_data" / "images" / "IMG_3.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"^'.*test_data/images/IMG_3\.jpg' cannot be read as an image: its format is"):
        module(own).setup("test")


def test_truncated_image_is_named_when_it_is_read(own: Path) -> None:
    image = own / "test_data" / "images" / "IMG_3.jpg"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) * 2 // 3])
    data = module(own)
    data.setup("test")
    with pytest.raises(DataError, match=r"^'.*test_data/images/IMG_3\.jpg' cannot be read as an image: .*truncated"):
        all_of(data, "test")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"part": "C"}, r"^part must be one of A, B, got 'C'$"),
        ({"validate_on": "train"}, r"^validate_on must be one of held_out, test, got 'train'$"),
        ({"augmentation": "strong"}, r"^augmentation must be .*, got 'strong'$"),
        ({"val_fraction": 0.0}, r"^val_fraction must be above 0 and below 1, got 0\.0$"),
        ({"split_seed": -1}, r"^split_seed must be .*, got -1$"),
        ({"sigma": -1.0}, r"^sigma must be .*, got -1\.0$"),
        ({"kernel_size": 4}, r"^kernel_size must be .*, got 4$"),
        ({"crop_size": 0}, r"^crop_size must be .*, got 0$"),
        ({"crops_per_image": 0}, r"^crops_per_image must be .*, got 0$"),
        ({"coord_offset": float("nan")}, r"^coord_offset must be .*, got nan$"),
    ],
)
def test_refusals(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module(tmp_path, **arguments)
