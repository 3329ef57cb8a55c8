import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from datamodules import DataError, RealSRDataModule
from datamodules.batches import DegradedBatch, RestorationBatch
from datamodules.samples import collate
from tests.support.image_files import ImageFiles
from tests.support.restoration_files import write_realsr

VERSIONS = ("RealSR (ICCV2019)", "RealSR(V2)", "RealSR (Final)", "RealSR(V3)")
LAYOUTS = ("{camera}/{split}", "{split}/{camera}")


@pytest.fixture(scope="session")
def realsr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RealSR of version 2; not to be changed but for what is converted."""
    return write_realsr(tmp_path_factory.mktemp("realsr") / "RealSR(V2)", scales=(2, 4))


@pytest.fixture(scope="session")
def smaller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RealSR of version 3; not to be changed but for what is converted."""
    return write_realsr(tmp_path_factory.mktemp("realsr") / "RealSR(V3)", scales=(3,), smaller=True)


def module(root: Path, **arguments: Any) -> RealSRDataModule:
    small = {"num_workers": 0, "batch_size": 4, "patch_size": 24, "patches_per_image": 3, "val_fraction": 0.2}
    return RealSRDataModule(str(root), **({"scale": 2} | small | arguments))


def all_of(data: RealSRDataModule, split: str) -> list[RestorationBatch]:
    return list(getattr(data, f"{split}_dataloader")())


def decoded(path: Path) -> Tensor:
    with Image.open(path) as file:
        return torch.from_numpy(np.asarray(file.convert("RGB"), np.float32) / 255).permute(2, 0, 1)[None]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_published_layout_is_found(tmp_path: Path, version: str, layout: str) -> None:
    root = write_realsr(tmp_path / version, scales=(2,), train=2, test=1, layout=layout, smaller="V3" in version)
    for data_dir in (root, tmp_path):
        data = module(data_dir, val_fraction=0.5)
        (tested, other) = all_of(data, "test")
        camera_folders = [layout.format(camera=camera, split="Test") for camera in ("Canon", "Nikon")]
        assert tested.id + other.id == [
            f"{folder}/2/{camera}_001_LR2.png"
            for folder, camera in zip(camera_folders, ("Canon", "Nikon"), strict=True)
        ]
        assert tested.image.shape == tested.target.shape == (1, 3, 60, 84)
        assert len(data.train_samples()) == 2 * 3  # of one of the two scenes by both cameras
        assert len(data.val_samples()) == 2


def test_whole_images_are_the_decoded_files(realsr: Path) -> None:
    data = module(realsr)
    for split, count in (("val", 2), ("test", 4)):
        batches = all_of(data, split)
        assert len(batches) == count
        for batch in batches:
            low = realsr / batch.id[0]
            assert torch.equal(batch.image, decoded(low))
            assert torch.equal(batch.target, decoded(low.with_name(low.name.replace("LR2", "HR"))))


def test_patches_are_parts_of_the_decoded_files(realsr: Path) -> None:
    data = module(realsr, augment=False)
    torch.manual_seed(0)
    batches = all_of(data, "train")
    assert [tuple(batch.image.shape) for batch in batches] == [(4, 3, 24, 24)] * 6  # 8 pairs, 3 patches of each
    whole = collate(batches)
    assert len(set(whole.id)) == 24
    for image, target, name in zip(whole.image, whole.target, whole.id, strict=True):
        low = realsr / f"{name[:-5]}.png"
        found = places(decoded(low)[0], image)
        assert len(found) == 1
        assert found == places(decoded(low.with_name(low.name.replace("LR2", "HR")))[0], target)


def places(image: Tensor, patch: Tensor) -> list[tuple[int, int]]:
    """Where in an image a patch lies."""
    first = (image == patch[:, :1, :1]).all(0).nonzero().tolist()
    return [
        (row, column) for row, column in first if torch.equal(image[:, row : row + 24, column : column + 24], patch)
    ]


def test_scenes_are_not_split(realsr: Path) -> None:
    held_out = set()
    for seed in range(8):
        data = module(realsr, split_seed=seed, patches_per_image=1)
        train, val = (
            {name.split("_")[1] for batch in all_of(data, split) for name in batch.id} for split in ("train", "val")
        )
        assert not train & val
        assert train | val == {"001", "002", "003", "004", "005"}
        held_out |= val
    assert len(held_out) > 1
    again = [[batch.id for batch in all_of(module(realsr), "val")] for _ in range(2)]
    assert again[0] == again[1]


def test_validation_on_the_test_images_must_be_chosen(realsr: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = module(realsr, validate_on="test")
    assert [batch.id for batch in all_of(data, "val")] == [batch.id for batch in all_of(data, "test")]
    assert "validate_on='test': validation takes the test images" in caplog.text
    assert len(data.train_samples()) == 10 * 3


def test_cameras_and_scales_are_chosen(realsr: Path) -> None:
    (first, second) = all_of(module(realsr, scale=4, cameras="Nikon"), "test")
    assert first.id + second.id == ["Nikon/Test/4/Nikon_001_LR4.png", "Nikon/Test/4/Nikon_002_LR4.png"]


def test_smaller_images_are_enlarged(smaller: Path) -> None:
    data = module(smaller, scale=3)
    assert collate(all_of(data, "train")).image.shape == (24, 3, 24, 24)
    for split in ("val", "test"):
        for batch in all_of(data, split):
            with Image.open(smaller / batch.id[0]) as file:
                height, width = batch.target.shape[2:]
                assert (3 * file.height, 3 * file.width) == (height, width)
                expected = np.asarray(file.resize((width, height), Image.Resampling.BICUBIC))
            np.testing.assert_allclose(batch.image[0].permute(1, 2, 0) * 255, expected, atol=1.01)


def test_counts_are_logged(realsr: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="datamodules.restoration.realsr_files"):
        module(realsr).setup("fit")
    assert caplog.messages == [f"'{realsr}/{camera}/Train/2': 5 pairs" for camera in ("Canon", "Nikon")]


def test_only_what_a_stage_reads_is_needed(tmp_path: Path) -> None:
    root = write_realsr(tmp_path, scales=(2,), train=0, test=1)
    module(root).setup("test")
    assert not (root / "converted").exists()


def test_converted_images_lie_where_they_are_wanted(realsr: Path, tmp_path: Path) -> None:
    data = module(realsr, cache_dir=str(tmp_path / "elsewhere"))
    data.setup("fit")
    assert len(list((tmp_path / "elsewhere").glob("*.npy"))) == 20


def test_epochs_are_the_same_for_any_number_of_workers(realsr: Path) -> None:
    epochs = []
    for num_workers in (1, 2):
        torch.manual_seed(3)
        epochs.append(collate(all_of(module(realsr, num_workers=num_workers), "train")))
    assert epochs[0].id == epochs[1].id
    assert torch.equal(epochs[0].image, epochs[1].image)


def test_own_images_are_enlarged_on_demand(realsr: Path, odd_images: ImageFiles) -> None:
    folder, expected = odd_images
    for factor in (1, 2):
        data = module(realsr, predict_dir=str(folder), predict_upscale=factor)
        data.setup("predict")
        batches = list(data.predict_dataloader())
        assert {batch.id[0] for batch in batches} == expected.keys()
        for batch in batches:
            assert isinstance(batch, DegradedBatch)
            height, width, _ = expected[batch.id[0]].shape
            assert batch.image.shape == (1, 3, factor * height, factor * width)
    with pytest.raises(DataError, match=r"^predict_dir is not given"):
        module(realsr).setup("predict")


def test_missing_folders_are_named(tmp_path: Path) -> None:
    remedy = r"Name the folder of one version of RealSR, .*: --data\.init_args\.data_dir=FOLDER\."
    with pytest.raises(DataError, match=rf"^data_dir='.*/absent' does not exist\. {remedy}$"):
        module(tmp_path / "absent").setup("fit")
    missing = r"holds no Canon/Train or Train/Canon \(or of Nikon, or Test\), nor does a folder in it\."
    with pytest.raises(DataError, match=rf"^data_dir='.*' {missing} {remedy}$"):
        module(tmp_path).setup("fit")
    write_realsr(tmp_path / "RealSR(V2)", scales=(2,), cameras=("Canon",), train=1, test=0)
    with pytest.raises(
        DataError,
        match=rf"^'.*/RealSR\(V2\)' has neither of the folders Nikon/Train and Train/Nikon\. {remedy} With the images "
        r"of one camera only, name it: --data\.init_args\.cameras=CAMERA\.$",
    ):
        module(tmp_path).setup("fit")
    with pytest.raises(
        DataError, match=rf"/Canon/Train/3' does not exist, where the images of scale=3 should be\. {remedy}"
    ):
        module(tmp_path, cameras="Canon", scale=3).setup("fit")
    with pytest.raises(
        DataError, match=rf"/Canon/Test/2' holds no pairs Canon_001_HR\.png, Canon_001_LR2\.png\. {remedy}"
    ):
        module(tmp_path, cameras="Canon").setup("test")
    (tmp_path / "RealSR (Final)" / "Nikon" / "Test").mkdir(parents=True)
    with pytest.raises(
        DataError, match=rf"^data_dir='.*' holds several: 'RealSR \(Final\)', 'RealSR\(V2\)'\. {remedy}$"
    ):
        module(tmp_path).setup("fit")


def test_files_that_do_not_fit_together_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_realsr(tmp_path, scales=(2,), cameras=("Canon",), train=3, test=1)
    folder = root / "Canon" / "Train" / "2"
    only = {"cameras": "Canon"}
    Image.new("RGB", (41, 30)).save(folder / "Canon_002_LR2.png")
    with pytest.raises(
        DataError,
        match=r"/Canon_002_LR2\.png' has 30 × 41 pixels, but '.*/Canon_002_HR\.png' 72 × 84\. Replace or",
    ):
        module(root, **only).setup("fit")
    (folder / "Canon_002_LR2.png").unlink()
    (folder / "Canon_003_HR.png").rename(folder / "Canon_004_HR.png")
    with pytest.raises(
        DataError,
        match=r"/Canon/Train/2' lacks the partners of 3 images: Canon_002_HR\.png, Canon_003_LR2\.png, "
        r"Canon_004_HR\.png\. Add them, or remove these images\.$",
    ):
        module(root, **only).setup("fit")
    (folder / "Canon_002_HR.png").rename(folder / "Canon_002_LR3.png")
    (folder / "Canon_004_HR.png").rename(folder / "Canon_003_HR.png")
    module(root, **only, val_fraction=0.5).setup("fit")
    assert "images of other names are left out: Canon_002_LR3.png" in caplog.text
    (folder / "Canon_001_LR2.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"/Canon_001_LR2\.png' cannot be read as an image: "):
        module(root, **only).setup("fit")


@pytest.mark.parametrize("split", ["train", "test"])
def test_pairs_that_changed_since_they_were_found_are_named(tmp_path: Path, split: str) -> None:
    """Whatever the size was it was enlarged to something, or turned pixels were trained on."""
    root = write_realsr(tmp_path / "RealSR(V3)", scales=(2,), train=3, test=2, size=(48, 48), smaller=True)
    folder = root / "Canon" / split.title() / "2"
    low = folder / "Canon_001_LR2.png"
    exif = Image.Exif()
    exif[0x0112] = 3
    for changed, message in (
        (Image.new("RGB", (20, 20)), r"LR2\.png' has 20 × 20 pixels, but '.*Canon_001_HR\.png' 48 × 48\. Replace"),
        (Image.new("RGB", (24, 24)), r"LR2\.png' has the EXIF orientation 3, but '.*Canon_001_HR\.png' 1: turned so"),
    ):
        before = low.read_bytes()
        data = module(root, val_fraction=0.3, cameras="Canon", cache_dir=str(tmp_path / "cache"))
        samples = data.test_samples() if split == "test" else None
        pairs = data.train_pairs
        changed.save(low, **({"exif": exif} if changed.width == 24 else {}))
        with pytest.raises(DataError, match=message):
            _ = samples[0] if samples is not None else data.convert(pairs)
        low.write_bytes(before)


def test_patches_larger_than_an_image_are_refused(realsr: Path) -> None:
    with pytest.raises(
        DataError, match=r"^'Canon/Train/2/Canon_001_LR2\.png' has 60 × 84 pixels, too few for patch_size=61\. Choose "
    ):
        module(realsr, patch_size=61).setup("fit")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 5}, "scale must be one of 2, 3, 4, got 5"),
        ({"cameras": "Sony"}, "cameras must be one of both, Canon, Nikon, got 'Sony'"),
        ({"predict_upscale": 0}, "predict_upscale must be at least 1, got 0"),
        ({"patch_size": 0}, "patch_size must be at least 1, got 0"),
        ({"patches_per_image": 0}, "patches_per_image must be at least 1, got 0"),
        ({"val_fraction": 1.0}, "val_fraction must be above 0 and below 1, got 1.0"),
        ({"split_seed": -1}, "split_seed must be at least 0, got -1"),
        ({"validate_on": "train"}, "validate_on must be one of held_out, test, got 'train'"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{message}$"):
        RealSRDataModule(**arguments)
