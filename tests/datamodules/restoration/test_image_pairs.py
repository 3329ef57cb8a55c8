import os
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from datamodules import DataError
from datamodules.files.readers import read_image
from datamodules.restoration.image_pairs import (
    ImagePair,
    MemoryMaps,
    check_pair,
    check_sizes,
    convert_pairs,
    match_pairs,
    read_pair,
)
from datamodules.types import Pixels

HEIGHT, WIDTH = 20, 30


@pytest.fixture
def pairs(tmp_path: Path) -> list[ImagePair]:
    """Three pairs of noise."""
    made = []
    for number in range(3):
        files = [tmp_path / f"{number}_{kind}.png" for kind in ("bad", "good")]
        for path in files:
            pixels = np.random.RandomState(len(made)).randint(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
            Image.fromarray(pixels ^ (path is files[0])).save(path)
        made.append(ImagePair(f"sub/{files[0].name}", str(number), *files, HEIGHT, WIDTH))
    return made


class Reader:
    """Reads pairs, notes which, and stops at one of them."""

    def __init__(self, stop_at: str | None = None) -> None:
        self.read: list[str] = []
        self._stop_at = stop_at

    def __call__(self, pair: ImagePair) -> tuple[Pixels, Pixels]:
        if pair.scene == self._stop_at:
            raise KeyboardInterrupt
        self.read.append(pair.scene)
        return read_pair(pair)


def test_converted_images_are_the_decoded_ones(pairs: list[ImagePair], tmp_path: Path) -> None:
    maps = MemoryMaps()
    converted = convert_pairs(pairs, read_pair, tmp_path / "cache")
    for pair, made in zip(pairs, converted, strict=True):
        assert made[:2] + made[4:] == pair[:2] + pair[4:]
        for pixels, path in zip(maps.pair(made), (pair.degraded, pair.clean), strict=True):
            assert (pixels.dtype, pixels.shape) == (np.uint8, (HEIGHT, WIDTH, 3))
            np.testing.assert_array_equal(pixels, read_image(path))


def test_interrupted_conversion_goes_on_where_it_stopped(pairs: list[ImagePair], tmp_path: Path) -> None:
    first, second, third = Reader(stop_at="1"), Reader(), Reader()
    with pytest.raises(KeyboardInterrupt):
        convert_pairs(pairs, first, tmp_path / "cache")
    assert first.read == ["0"]
    convert_pairs(pairs, second, tmp_path / "cache")
    assert second.read == ["1", "2"]
    convert_pairs(pairs, third, tmp_path / "cache")
    assert third.read == []


def test_changed_and_damaged_files_are_converted_again(pairs: list[ImagePair], tmp_path: Path) -> None:
    converted = convert_pairs(pairs, read_pair, tmp_path / "cache")
    Image.new("RGB", (WIDTH, HEIGHT), (1, 2, 3)).save(pairs[0].clean)
    content = converted[2].degraded.read_bytes()
    converted[2].degraded.write_bytes(content[:-1])
    reader = Reader()
    convert_pairs(pairs, reader, tmp_path / "cache")
    assert reader.read == ["0", "2"]
    assert (MemoryMaps()(converted[0].clean) == (1, 2, 3)).all()
    assert converted[2].degraded.read_bytes() == content


def test_damaged_image_is_named_and_the_others_are_kept(pairs: list[ImagePair], tmp_path: Path) -> None:
    pairs[1].clean.write_bytes(pairs[1].clean.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"/1_good\.png' cannot be read as an image: "):
        convert_pairs(pairs, read_pair, tmp_path / "cache")
    reader = Reader(stop_at="1")
    with pytest.raises(KeyboardInterrupt):
        convert_pairs(pairs, reader, tmp_path / "cache")
    assert reader.read == []


def test_lack_of_space_is_told_before_anything_is_written(
    pairs: list[ImagePair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 3 * 2 * 3 * HEIGHT * WIDTH
    large = [pair._replace(height=HEIGHT * 10**6) for pair in pairs]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed))
    message = (
        rf"^Converting the images into '.*/deep/cache' needs {needed / 1000:.1f} GB, but 0\.0 GB are free\. Make room, "
        r"or name a folder on another disk: --data\.init_args\.cache_dir=FOLDER\.$"
    )
    with pytest.raises(DataError, match=message):
        convert_pairs(large, read_pair, tmp_path / "deep" / "cache")
    assert not (tmp_path / "deep").exists()
    convert_pairs(pairs, read_pair, tmp_path / "cache")  # just enough
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    convert_pairs(pairs, read_pair, tmp_path / "cache")  # nothing is left to do


def test_maps_are_not_copied_to_other_processes_and_keep_no_file_open(pairs: list[ImagePair], tmp_path: Path) -> None:
    converted = convert_pairs(pairs, read_pair, tmp_path / "cache")
    maps = MemoryMaps()
    before = len(os.listdir("/dev/fd"))
    for pair in converted:
        maps.pair(pair)
    assert len(os.listdir("/dev/fd")) == before
    pickled = pickle.dumps(maps)
    assert len(pickled) < 200
    np.testing.assert_array_equal(pickle.loads(pickled)(converted[0].clean), read_image(pairs[0].clean))


def test_images_without_a_partner_are_named() -> None:
    degraded = {name: Path(f"/data/{name}_LR.png") for name in "abc"}
    clean = {name: Path(f"/data/{name}_HR.png") for name in "bcde"}
    with pytest.raises(
        DataError, match=r"^'/data' lacks the partners of 3 images: a_LR\.png, d_HR\.png, e_HR\.png\. Add them, or"
    ):
        match_pairs(degraded, clean, Path("/data"))
    both = match_pairs({"c": Path("1"), "b": Path("2")}, {"b": Path("3"), "c": Path("4")}, Path("/data"))
    assert both == [("b", Path("2"), Path("3")), ("c", Path("1"), Path("4"))]


def test_images_that_are_too_small_are_named(pairs: list[ImagePair]) -> None:
    check_sizes(pairs, "patch_size", HEIGHT)
    with pytest.raises(
        DataError,
        match=r"^'sub/0_bad\.png' has 20 × 30 pixels, too few for patch_size=21\. Choose "
        r"--data\.init_args\.patch_size=20 or less, or remove this pair\.$",
    ):
        check_sizes(pairs, "patch_size", HEIGHT + 1)


def test_pair_of_different_sizes_is_named(pairs: list[ImagePair]) -> None:
    Image.new("RGB", (7, 5)).save(pairs[0].degraded)
    with pytest.raises(
        DataError, match=r"/0_bad\.png' has 5 × 7 pixels, but '.*0_good\.png' 20 × 30\. Replace or remove the two"
    ):
        read_pair(pairs[0])


@pytest.mark.parametrize("mapped_before", [True, False])
@pytest.mark.parametrize(
    ("size", "message"),
    [(None, "No such file or directory"), (0, ""), (100, ""), (128 + 3 * HEIGHT * WIDTH - 1, ""), (10**4, "")],
)
def test_a_converted_file_that_changed_is_named(
    pairs: list[ImagePair], tmp_path: Path, mapped_before: bool, size: int | None, message: str
) -> None:
    """Without a word the process would be ended by a look at the part of a map that is not in the file any more."""
    path = convert_pairs(pairs, read_pair, tmp_path / "cache")[0].clean
    maps = MemoryMaps()
    if mapped_before:
        maps(path)
    if size is None:
        path.unlink()
    else:
        os.truncate(path, size)
    with pytest.raises(DataError, match=rf"/sub-0_bad\.clean\.npy' cannot be read: .*{message}.*Start again"):
        maps(path)


def test_a_published_file_that_is_lost_before_it_is_converted_is_named(pairs: list[ImagePair], tmp_path: Path) -> None:
    pairs[1].clean.unlink()
    with pytest.raises(DataError, match=r"/1_good\.png' was there and is missing now\."):
        convert_pairs(pairs, read_pair, tmp_path / "cache")


def write_turned(path: Path, pixels: Pixels, orientation: int | None) -> Path:
    exif = Image.Exif()
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientations", [(3, None), (1, 2), (None, 8), (6, 8)], ids=str)
@pytest.mark.parametrize("size", [(24, 24), (24, 30)], ids=str)
def test_pairs_turned_differently_are_refused(
    tmp_path: Path, size: tuple[int, int], orientations: tuple[int | None, int | None], suffix: str
) -> None:
    """Also where their sizes fit as shown, as those of squares always do."""
    pixels = np.random.RandomState(0).randint(0, 256, (*size, 3), np.uint8)
    paths = [write_turned(tmp_path / f"{i}.{suffix}", pixels, o) for i, o in enumerate(orientations)]
    first, second = (1 if o is None else o for o in orientations)
    with pytest.raises(
        DataError, match=rf"/0\.{suffix}' has the EXIF orientation {first}, but '.*/1\.{suffix}' {second}"
    ):
        check_pair(*paths)


@pytest.mark.parametrize("orientation", [None, 1, 3, 5, 6])
def test_pairs_turned_alike_are_read_upright(tmp_path: Path, orientation: int | None) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (2, 24, 30, 3), np.uint8)
    paths = [write_turned(tmp_path / f"{i}.png", image, orientation) for i, image in enumerate(pixels)]
    size = check_pair(*paths)
    images = read_pair(ImagePair("0.png", "0", *paths, *size))
    for got, path in zip(images, paths, strict=True):
        with Image.open(path) as file:
            assert np.array_equal(got, np.asarray(ImageOps.exif_transpose(file)))
        assert got.shape[:2] == size


def test_scales_that_a_pair_may_have(tmp_path: Path) -> None:
    small = write_turned(tmp_path / "small.png", np.zeros((10, 12, 3), np.uint8), 6)
    large = write_turned(tmp_path / "large.png", np.zeros((30, 36, 3), np.uint8), 6)
    assert check_pair(small, large, (1, 3)) == (36, 30)
    with pytest.raises(DataError, match=r"small\.png' has 12 × 10 pixels, but '.*/large\.png' 36 × 30\. Replace"):
        check_pair(small, large, (1, 2))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("turned", [(3, 3), (6, 6)], ids=str)
def test_a_photograph_turned_after_its_conversion_is_converted_again(
    tmp_path: Path, turned: tuple[int, int], suffix: str
) -> None:
    """Also by a program that keeps the files' sizes and times."""
    pixels = np.random.RandomState(0).randint(0, 256, (24, 30, 3), np.uint8)
    paths = [write_turned(tmp_path / f"{i}.{suffix}", pixels, 1) for i in range(2)]
    before = ImagePair(f"0.{suffix}", "0", *paths, *check_pair(*paths))
    convert_pairs([before], read_pair, tmp_path / "cache")
    for path, orientation in zip(paths, turned, strict=True):
        status = path.stat()
        write_turned(path, pixels, orientation)
        assert path.stat().st_size == status.st_size
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = before._replace(**dict(zip(("height", "width"), check_pair(*paths), strict=True)))
    (converted,) = convert_pairs([after], read_pair, tmp_path / "cache")
    for got, path in zip(MemoryMaps().pair(converted), paths, strict=True):
        np.testing.assert_array_equal(got, read_image(path))


def test_a_photograph_replaced_by_another_of_one_size_and_time_is_converted_again(tmp_path: Path) -> None:
    """As where archives are unpacked over each other; files without compression are all of one size."""
    path = tmp_path / "a.bmp"
    pair = ImagePair("a.bmp", "a", path, path, 24, 30)
    for seed in range(2):
        pixels = np.random.RandomState(seed).randint(0, 256, (24, 30, 3), np.uint8)
        Image.fromarray(pixels).save(path)
        os.utime(path, (1e9, 1e9))
        (converted,) = convert_pairs([pair], read_pair, tmp_path / "cache")
        np.testing.assert_array_equal(MemoryMaps()(converted.clean), pixels)


def test_a_photograph_that_changed_its_size_since_it_was_found_is_named(pairs: list[ImagePair], tmp_path: Path) -> None:
    for path in (pairs[1].degraded, pairs[1].clean):
        Image.new("RGB", (WIDTH, HEIGHT + 1)).save(path)
    with pytest.raises(DataError, match=r"/1_good\.png' has changed its size since it was found\. Start again\.$"):
        convert_pairs(pairs, read_pair, tmp_path / "cache")


def test_converted_files_that_do_not_fit_together_are_named(pairs: list[ImagePair], tmp_path: Path) -> None:
    converted = convert_pairs(pairs, read_pair, tmp_path / "cache")[0]
    turned = np.zeros((WIDTH, HEIGHT, 3), np.uint8)
    np.save(converted.degraded, turned)
    with pytest.raises(
        DataError, match=r"sub-0_bad\.degraded\.npy' has 30 × 20 pixels, but '.*sub-0_bad\.clean\.npy' 20 × 30\."
    ):
        MemoryMaps().pair(converted)
    np.save(converted.clean, turned)
    with pytest.raises(
        DataError, match=r"sub-0_bad\.clean\.npy' cannot be read: it holds .* than 20 × 30 pixels\. Start again"
    ):
        MemoryMaps().pair(converted)


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_pair_is_checked_again_when_it_is_read(tmp_path: Path, orientation: int) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (24, 24, 3), np.uint8)
    paths = [write_turned(tmp_path / f"{i}.png", pixels, None) for i in range(2)]
    pair = ImagePair("0.png", "0", *paths, *check_pair(*paths))
    write_turned(paths[1], pixels, orientation)
    with pytest.raises(DataError, match=rf"/0\.png' has the EXIF orientation 1, but '.*/1\.png' {orientation}: turned"):
        read_pair(pair)
