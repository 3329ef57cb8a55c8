"""Pairs hold what their files do, whatever these are, whether read as they are or converted first."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from tests.datamodules.restoration.own.conftest import all_of, held_out, module, stored
from tests.support.png_files import write_png
from tests.support.restoration_files import write_pairs


@pytest.mark.parametrize(("channels", "bits"), [(1, 8), (1, 16), (3, 16), (2, 8), (5, 16)])
def test_all_bits_and_channels_are_kept(tmp_path: Path, channels: int, bits: int) -> None:
    root = write_pairs(tmp_path / "pairs", channels=channels, bits=bits)
    data = module(root, channels=channels, augment=False)
    for batch in held_out(data):
        assert batch.image.shape[1] == channels
        values = stored(root / "degraded" / batch.id[0])
        np.testing.assert_allclose(batch.image[0].permute(1, 2, 0), values, atol=1e-7)
    for batch in all_of(data, "train"):
        for image, name in zip(batch.image, batch.id, strict=True):
            (path,) = (root / "degraded").glob(f"{name[:-5]}.*")
            whole = torch.from_numpy(stored(path).astype(np.float32)).permute(2, 0, 1)
            windows = whole.unfold(1, 24, 1).unfold(2, 24, 1)  # [C, rows, columns, 24, 24]
            assert ((windows - image[:, None, None]).abs().amax((0, 3, 4)) < 1e-6).sum() == 1


def test_images_of_one_pair_may_differ_in_depth(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "pairs")
    for path in (root / "clean").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 257)
    batches = all_of(module(root), "val")
    for batch in batches:
        np.testing.assert_allclose(batch.target[0].permute(1, 2, 0), stored(root / "clean" / batch.id[0]), atol=1e-7)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("scale", [2, 3])
def test_smaller_images_are_enlarged(tmp_path: Path, scale: int, bits: int) -> None:
    root = write_pairs(tmp_path / "pairs", scale=scale, channels=1, bits=bits)
    data = module(root, scale=scale, channels=1, predict_dir=str(root / "degraded"))
    for batch in held_out(data):
        small = Image.fromarray(stored(root / "degraded" / batch.id[0])[..., 0].astype(np.float32))
        expected = np.asarray(small.resize(batch.target.shape[:1:-1], Image.Resampling.BICUBIC)).clip(0, 1)
        np.testing.assert_allclose(batch.image[0, 0], expected, atol=0.51 / (2**bits - 1) + 1e-6)
    data.setup("predict")
    first = next(iter(data.predict_dataloader()))
    assert first.image.shape == (1, 1, 48, 60)  # of the size that is wanted, as in training


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_notes_after_the_pixels_turn_pairs_of_any_channels(tmp_path: Path, channels: int, bits: int) -> None:
    values = np.random.RandomState(0).randint(0, 2**bits, (6, 40, 52, channels)).astype(f"u{bits // 8}")
    for side in ("degraded", "clean"):
        (tmp_path / side).mkdir()
        for number, pixels in enumerate(values):
            write_png(tmp_path / side / f"{number}.png", pixels, 6, "eXIf, after")
    data = module(tmp_path, channels=channels, cache_dir=str(tmp_path / "cache"))
    for batch in held_out(data):
        shown = np.rot90(values[int(batch.id[0][0])], -1).transpose(2, 0, 1) / (2**bits - 1)
        for image in (batch.image, batch.target):
            np.testing.assert_allclose(image[0], shown, atol=1e-6)


def test_tiffs_of_any_kind_are_read_as_they_are_meant(tmp_path: Path) -> None:
    """Converted and not; white may be zero, channels may follow each other, transparency may be multiplied in."""
    values = np.random.RandomState(0).randint(0, 65536, (6, 40, 52, 3)).astype(np.uint16)
    opaque = np.full((40, 52, 1), 65535, np.uint16)
    for folder in ("degraded", "clean"):
        (tmp_path / folder).mkdir()
    for number, pixels in enumerate(values):
        tifffile.imwrite(
            tmp_path / f"degraded/{number}.tif", pixels.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"
        )
        tifffile.imwrite(
            tmp_path / f"clean/{number}.tif",
            np.concatenate([pixels, opaque], 2),
            photometric="rgb",
            extrasamples=["assocalpha"],
        )
    for split in ("val", "test"):
        for batch in all_of(module(tmp_path), split):
            expected = values[int(batch.id[0][0])].transpose(2, 0, 1) / 65535
            for image in (batch.image, batch.target):
                np.testing.assert_allclose(image[0], expected, atol=1e-6)


def test_another_number_of_channels_never_uses_converted_files_of_this(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "pairs", channels=1)
    for channels in (3, 1, 3):
        data = module(root, channels=channels)
        assert {batch.image.shape[1] for batch in all_of(data, "train") + all_of(data, "val")} == {channels}


def test_test_alone_converts_nothing(pairs: Path) -> None:
    module(pairs).setup("test")
    assert not (pairs.parent / "cache").exists()


def test_nothing_is_written_among_the_images(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path for path in pairs.rglob("*")}
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    module(pairs, cache_dir="data/converted").setup("fit")
    assert {path for path in pairs.rglob("*")} == before
    assert len(list(Path("data/converted").glob("degraded-*/*.npy"))) == 2 * 4


def test_ids_that_look_alike_are_converted_apart(tmp_path: Path) -> None:
    """Slashes and dashes, of which the names of converted files are made."""
    root = tmp_path / "pairs"
    for number, name in enumerate(("a/b", "a-b", "a%2Db", "a--b", "a-/b", "a/-b")):
        write_pairs(root, seed=number, count=1, degraded=f"degraded/{name}.png", clean=f"clean/{name}.png")
    data = module(root)
    pairs = data.convert(data.train_pairs)
    assert len({pair.clean for pair in pairs} | {pair.degraded for pair in pairs}) == 12
    for pair in pairs:
        np.testing.assert_array_equal(np.load(pair.clean) / 255, stored(root / "clean" / pair.id))
