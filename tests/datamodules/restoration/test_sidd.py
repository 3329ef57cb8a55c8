import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import loadmat, savemat

from datamodules import DataError, SIDDDataModule
from datamodules.batches import DegradedBatch, RestorationBatch
from datamodules.samples import collate
from tests.support.image_files import ImageFiles
from tests.support.restoration_files import write_sidd


@pytest.fixture(scope="session")
def sidd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SIDD; not to be changed but for what is converted."""
    return write_sidd(tmp_path_factory.mktemp("sidd"))


def module(root: Path, **arguments: Any) -> SIDDDataModule:
    small = {"num_workers": 0, "batch_size": 4, "patch_size": 24, "patches_per_image": 3, "block_batch_size": 4}
    return SIDDDataModule(str(root), **(small | {"val_fraction": 0.25, "block_size": 32} | arguments))


def all_of(data: SIDDDataModule, split: str) -> Any:
    return collate(list(getattr(data, f"{split}_dataloader")()))


def scenes(ids: list[str]) -> set[str]:
    return {name.split("_")[1] for name in ids}


def decoded(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(file)


def test_patches_and_held_out_blocks_are_of_different_scenes(sidd: Path) -> None:
    held_out = set()
    for seed in range(6):
        data = module(sidd, split_seed=seed)
        train, val = all_of(data, "train"), all_of(data, "val")
        assert isinstance(train, RestorationBatch)
        assert train.image.shape == train.target.shape == (3 * 2 * (5 - len(val.id) // 12), 3, 24, 24)
        assert len(set(train.id)) == len(train.id)
        assert len(scenes(val.id)) == 1
        assert scenes(train.id) == {"001", "002", "003", "004"} - scenes(val.id)
        held_out |= scenes(val.id)
    assert len(held_out) > 1


def test_held_out_blocks_cover_the_images(sidd: Path) -> None:
    data = module(sidd, val_fraction=0.5, split_seed=1)
    val = all_of(data, "val")
    assert val.image.shape == val.target.shape == (len(val.id), 3, 32, 32)
    assert len(set(val.id)) == len(val.id)
    folders = sidd / "SIDD_Medium_Srgb" / "Data"
    images = {name.rpartition("_")[0] for name in val.id}
    assert {name.split("/")[0] for name in images} == {
        path.name for path in folders.iterdir() if path.name.split("_")[1] in scenes(val.id)
    }
    for name in images:
        # 64 × 96 pixels hold 2 × 3 blocks, row by row, without gaps.
        noisy, clean = decoded(folders / f"{name}.PNG"), decoded(folders / f"{name.replace('NOISY', 'GT')}.PNG")
        rows, columns = noisy.shape[0] // 32, noisy.shape[1] // 32
        for number in range(6):
            position = val.id.index(f"{name}_{number:02d}")
            row, column = divmod(number, columns)
            for values, whole in ((val.image, noisy), (val.target, clean)):
                expected = whole[32 * row : 32 * row + 32, 32 * column : 32 * column + 32]
                np.testing.assert_array_equal(values[position].permute(1, 2, 0), expected / np.float32(255))
        assert rows * columns == 6


@pytest.mark.parametrize(
    ("size", "side", "count"), [((64, 96), 64, 1), ((64, 96), 10, 32), ((90, 500), 40, 16), ((500, 90), 40, 16)]
)
def test_there_are_up_to_32_blocks_without_overlap(
    tmp_path: Path, size: tuple[int, int], side: int, count: int
) -> None:
    data = module(write_sidd(tmp_path, scenes=2, size=size), val_fraction=0.5, block_size=side)
    assert len(data.val_samples()) % count == 0
    assert {name[0].rpartition("_")[2] for name in (sample.id for sample in data.val_samples())} == {
        f"{number:02d}" for number in range(count)
    }


def test_test_takes_the_published_blocks(sidd: Path) -> None:
    data = module(sidd)
    data.setup("test")
    batches = list(data.test_dataloader())
    assert [len(batch.id) for batch in batches] == [4, 2]
    batch = collate(batches)
    assert batch.id == ["0000", "0001", "0002", "0003", "0004", "0005"]
    for values, name in ((batch.image, "ValidationNoisyBlocksSrgb"), (batch.target, "ValidationGtBlocksSrgb")):
        published = loadmat(sidd / f"{name}.mat")[name]
        for image in range(2):
            for block in range(3):
                expected = published[image, block] / np.float32(255)
                np.testing.assert_array_equal(values[3 * image + block].permute(1, 2, 0), expected)


def test_validation_on_the_published_blocks_must_be_chosen(sidd: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = module(sidd, validate_on="test")
    val, test = all_of(data, "val"), all_of(data, "test")
    assert val.id == test.id
    assert torch.equal(val.image, test.image)
    assert "validate_on='test': validation takes the test images" in caplog.text
    assert len(data.train_samples()) == 10 * 3


def test_benchmark_is_predicted_in_the_order_of_its_ids(sidd: Path) -> None:
    data = module(sidd, predict_benchmark=True)
    data.setup("predict")
    batch = collate(list(data.predict_dataloader()))
    assert isinstance(batch, DegradedBatch)
    assert batch.id == sorted(batch.id) == [f"{number:04d}" for number in range(6)]
    assert (batch.bits == 8).all()
    assert not batch.grey.any()
    published = loadmat(sidd / "BenchmarkNoisyBlocksSrgb.mat")["BenchmarkNoisyBlocksSrgb"]
    np.testing.assert_array_equal(batch.image.permute(0, 2, 3, 1), published.reshape(6, 32, 32, 3) / np.float32(255))


def test_own_images_are_predicted_one_by_one(sidd: Path, odd_images: ImageFiles) -> None:
    folder, expected = odd_images
    data = module(sidd, predict_dir=str(folder))
    data.setup("predict")
    batches = list(data.predict_dataloader())
    assert [batch.id for batch in batches] == [[name] for name in sorted(expected)]
    with pytest.raises(DataError, match=r"^predict_dir is not given"):
        module(sidd).setup("predict")


def test_the_folder_of_photographs_may_be_named_itself(sidd: Path) -> None:
    shared = str(sidd / "converted")
    inner = module(sidd / "SIDD_Medium_Srgb", cache_dir=shared)
    assert all_of(inner, "val").id == all_of(module(sidd), "val").id


def test_counts_are_logged(sidd: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="datamodules.restoration.sidd_files"):
        module(sidd).setup("fit")
    assert caplog.messages == [f"'{sidd}/SIDD_Medium_Srgb/Data': 10 pairs of 4 scenes"]


def test_only_what_a_stage_reads_is_needed(tmp_path: Path) -> None:
    root = write_sidd(tmp_path)
    for path in root.glob("*.mat"):
        path.rename(root / f"{path.stem}.kept")
    assert len(all_of(module(root), "val").id) > 0
    shutil.rmtree(root / "SIDD_Medium_Srgb")
    for path in root.glob("*.kept"):
        path.rename(root / f"{path.stem}.mat")
    assert all_of(module(root), "test").id == [f"{number:04d}" for number in range(6)]
    assert all_of(module(root, predict_benchmark=True), "predict").id == [f"{number:04d}" for number in range(6)]


def test_missing_files_are_named(tmp_path: Path) -> None:
    remedy = (
        r"Name the folder that holds SIDD_Medium_Srgb/Data/ or .*, and the published \.mat files: --data\.init_args"
    )
    with pytest.raises(DataError, match=rf"^data_dir='.*/absent' does not exist\. {remedy}"):
        module(tmp_path / "absent").setup("fit")
    with pytest.raises(
        DataError,
        match=rf"^data_dir='.*' holds no SIDD_Medium_Srgb/Data, .* with folders such as .*, nor does .*\. {remedy}",
    ):
        module(tmp_path).setup("fit")
    for stage, names in (
        ("test", r"ValidationNoisyBlocksSrgb\.mat and ValidationGtBlocksSrgb\.mat"),
        ("predict", r"BenchmarkNoisyBlocksSrgb\.mat"),
    ):
        with pytest.raises(DataError, match=rf"^data_dir='.*' lacks {names}\. {remedy}"):
            module(tmp_path, predict_benchmark=True).setup(stage)
    (tmp_path / "Data" / "scene").mkdir(parents=True)
    with pytest.raises(DataError, match=rf"or Data with folders such as 0001_001_S6_.*\. {remedy}"):
        module(tmp_path).setup("fit")
    (tmp_path / "Data" / "0001_001_S6_00100_00060_3200_L").mkdir()
    with pytest.raises(
        DataError, match=r"/0001_001_S6_.*_L' holds no pairs NNNN_NOISY_SRGB_010\.PNG, .* or remove the"
    ):
        module(tmp_path).setup("fit")


def test_photographs_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    folder = write_sidd(tmp_path, scenes=2) / "SIDD_Medium_Srgb" / "Data" / "0002_001_S6_00100_00060_3200_L"
    Image.new("RGB", (7, 5)).save(folder / "0002_NOISY_SRGB_010.PNG")
    with pytest.raises(
        DataError,
        match=r"/0002_NOISY_SRGB_010\.PNG' has 5 × 7 pixels, but '.*/0002_GT_SRGB_010\.PNG' 64 × 96",
    ):
        module(tmp_path).setup("fit")
    (folder / "0002_NOISY_SRGB_010.PNG").unlink()
    with pytest.raises(DataError, match=r"_L' lacks the partners of 1 images: 0002_GT_SRGB_010\.PNG\. Add them, or"):
        module(tmp_path).setup("fit")
    (folder / "0002_GT_SRGB_010.PNG").unlink()
    path = folder / "0002_NOISY_SRGB_011.PNG"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"/0002_NOISY_SRGB_011\.PNG' cannot be read as an image: "):
        module(tmp_path, val_fraction=0.5).setup("fit")


def test_parts_larger_than_an_image_are_refused(sidd: Path) -> None:
    for argument in ("patch_size", "block_size"):
        with pytest.raises(
            DataError, match=rf"_NOISY_SRGB_010\.PNG' has .* pixels, too few for {argument}=65\. Choose"
        ):
            module(sidd, **{argument: 65}).setup("fit")


VALUES = np.random.RandomState(0).randint(0, 256, (2, 3, 8, 8, 3))


def write_blocks(root: Path, noisy: np.ndarray, clean: np.ndarray, name: str = "ValidationNoisyBlocksSrgb") -> None:
    savemat(root / "ValidationNoisyBlocksSrgb.mat", {name: noisy})
    savemat(root / "ValidationGtBlocksSrgb.mat", {"ValidationGtBlocksSrgb": clean})


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_whole_numbers_of_any_type_will_do(tmp_path: Path, dtype: type) -> None:
    write_blocks(tmp_path, VALUES.astype(dtype), VALUES[..., ::-1].astype(dtype))
    batch = all_of(module(tmp_path), "test")
    expected = VALUES.reshape(6, 8, 8, 3).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(batch.image.permute(0, 2, 3, 1), expected)


NOT_A_NUMBER = np.where(VALUES[0, 0, 0, 0, 0] == VALUES, np.nan, VALUES)
NOT_WHOLE = "holds values that are not whole numbers from 0 to 255, or NaN"


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (NOT_A_NUMBER, NOT_WHOLE),
        (VALUES / 255, NOT_WHOLE),
        (VALUES - 1, NOT_WHOLE),
        (VALUES + 1, NOT_WHOLE),
        (VALUES[0], r"has the shape \(3, 8, 8, 3\), not \(images, blocks, H, W, 3\)"),
        (VALUES[..., :2], r"has the shape \(2, 3, 8, 8, 2\), not \(images, blocks, H, W, 3\)"),
        (VALUES[:0], r"has the shape \(0, 3, 8, 8, 3\), not \(images, blocks, H, W, 3\)"),
        (VALUES.astype(object), "holds object, no numbers"),
    ],
)
def test_blocks_of_another_form_are_named(tmp_path: Path, values: np.ndarray, what: str) -> None:
    write_blocks(tmp_path, values, VALUES)
    with pytest.raises(
        DataError,
        match=rf"/ValidationNoisyBlocksSrgb\.mat' cannot be used: its variable Valid.* {what}\. Replace it by",
    ):
        module(tmp_path).setup("test")


def test_damaged_blocks_are_named(tmp_path: Path) -> None:
    write_blocks(tmp_path, VALUES, VALUES, name="Blocks")
    with pytest.raises(DataError, match=r"/ValidationNoisyBlocksSrgb\.mat' cannot be used: it holds no variable Valid"):
        module(tmp_path).setup("test")
    write_blocks(tmp_path, VALUES, VALUES[:1])
    with pytest.raises(
        DataError, match=r"ValidationNoisyBlocksSrgb\.mat holds blocks \[6, 8, 8, 3\], but .*Gt.*\.mat \[3, 8, 8, 3\]\."
    ):
        module(tmp_path).setup("test")
    write_blocks(tmp_path, VALUES, VALUES)
    path = tmp_path / "ValidationGtBlocksSrgb.mat"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"/ValidationGtBlocksSrgb\.mat' cannot be used: it is damaged"):
        module(tmp_path).setup("test")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"block_size": 0}, "block_size must be at least 1, got 0"),
        ({"block_batch_size": 0}, "block_batch_size must be at least 1, got 0"),
        (
            {"predict_benchmark": True, "predict_dir": "own"},
            "predict_benchmark must be false with predict_dir='own', got True",
        ),
        ({"validate_on": "val"}, "validate_on must be one of held_out, test, got 'val'"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{message}$"):
        SIDDDataModule(**arguments)


def make_small(root: Path) -> Path:
    """Name the files of SIDD-Medium as those of SIDD-Small, which has one pair of each scene."""
    data = root / "SIDD_Medium_Srgb" / "Data"
    for path in data.rglob("*.PNG"):
        kind, number = path.stem.split("_")[1], path.stem.rpartition("_")[2]
        if number == "010":
            path.rename(path.with_name(f"{kind}_SRGB_010.PNG"))
        else:
            path.unlink()
    return data


@pytest.mark.parametrize(
    ("folder", "data_dir"),
    [
        ("SIDD_Small_sRGB_Only/Data", "."),
        ("sidd-small-srgb/Data", "sidd-small-srgb"),
        ("Data", "."),
        ("x", "x"),
    ],
)
def test_the_small_set(tmp_path: Path, folder: str, data_dir: str) -> None:
    """As published, and the folder of images itself."""
    medium = module(write_sidd(tmp_path / "medium"))
    root = tmp_path / "small"
    (root / folder).parent.mkdir(parents=True)
    make_small(write_sidd(tmp_path / "other")).rename(root / folder)
    small = module(root / data_dir, cache_dir=str(tmp_path / "cache"))
    first = [pair for pair in medium.train_pairs if pair.degraded.name.endswith("_010.PNG")]
    assert [pair.scene for pair in small.train_pairs] == [pair.scene for pair in first]
    for ours, theirs in zip(small.train_pairs, first, strict=True):
        for got, wanted in zip(small.read_pair(ours), medium.read_pair(theirs), strict=True):
            assert np.array_equal(got, wanted)


def test_sets_and_names_that_mean_the_same_are_refused(tmp_path: Path) -> None:
    root = write_sidd(tmp_path)
    (root / "SIDD_Small_sRGB_Only" / "Data" / "0001_001_S6_00100_00060_3200_L").mkdir(parents=True)
    with pytest.raises(DataError, match="holds several: 'SIDD_Medium_Srgb/Data', 'SIDD_Small_sRGB_Only/Data'"):
        module(root).setup("fit")
    shutil.rmtree(root / "SIDD_Small_sRGB_Only")
    path = next((root / "SIDD_Medium_Srgb" / "Data").rglob("*_GT_SRGB_010.PNG"))
    shutil.copy(path, path.with_name(path.name.lower()))
    with pytest.raises(DataError, match=r"holds '.*\.(png|PNG)' and '.*', which mean the same\. Keep one"):
        module(root).setup("fit")
