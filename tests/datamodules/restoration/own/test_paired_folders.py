"""Pairs in two folders: how they are named, split, read and refused."""

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import torch
from PIL import Image

from datamodules import DataError, PairedFoldersDataModule
from datamodules.batches import RestorationBatch
from datamodules.samples import collate
from tests.support.png_files import write_png
from tests.support.restoration_files import write_pairs


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "pairs")


def module(root: Path, **arguments: Any) -> PairedFoldersDataModule:
    small = {"num_workers": 0, "batch_size": 4, "patch_size": 24, "patches_per_image": 3}
    small |= {"val_fraction": 0.3, "test_fraction": 0.3} if "test_clean_dir" not in arguments else {}
    folders = {"degraded_dir": str(root / "degraded"), "clean_dir": str(root / "clean")}
    return PairedFoldersDataModule(**({"cache_dir": str(root.parent / "cache")} | small | folders | arguments))


def all_of(data: PairedFoldersDataModule, split: str) -> list[RestorationBatch]:
    return list(getattr(data, f"{split}_dataloader")())


def stored(path: Path) -> npt.NDArray[Any]:
    """All that a file holds, RGB or grey, ``[H, W, C]``, in [0, 1]."""
    if path.suffix == ".npy":
        pixels = np.load(path)
    else:
        pixels = np.atleast_3d(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))[..., ::-1]
    return pixels / np.iinfo(pixels.dtype).max


def names_of(batches: list[RestorationBatch]) -> set[str]:
    return {name for batch in batches for name in batch.id}


LAYOUTS = [
    {"degraded": "degraded/{name}.png", "clean": "clean/{name}.png"},
    {"degraded": "degraded/{name}_noisy.png", "clean": "clean/{name}.tif", "degraded_name": "{name}_noisy"},
    {"degraded": "degraded/a/{name}x1.bmp", "clean": "clean/a/gt-{name}.webp"}
    | {"degraded_name": "a/{name}x1", "clean_name": "a/gt-{name}"},
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pairs_are_found_in_every_layout(tmp_path: Path, layout: dict[str, str]) -> None:
    layout = dict(layout)
    places = {side: layout.pop(side) for side in ("degraded", "clean")}
    root = write_pairs(tmp_path / "pairs", **places)
    data = module(root, **layout)
    found = all_of(data, "val") + all_of(data, "test")
    patches = collate(all_of(data, "train"))
    assert len(found) == 4 and len(patches.id) == 2 * 3
    assert len(names_of(found) | {name[:-5] for name in patches.id}) == 6
    for batch in found:
        degraded = root / "degraded" / batch.id[0]
        number = "".join(c for c in degraded.stem.split("photo_")[1] if c.isdigit())[0]
        (clean,) = (path for path in (root / "clean").rglob(f"*photo_{number}*"))
        for image, path in ((batch.image, degraded), (batch.target, clean)):
            if path.suffix != ".webp":  # with loss
                np.testing.assert_allclose(image[0].permute(1, 2, 0), stored(path), atol=1e-7)


def test_one_folder_may_hold_both_where_patterns_tell_them_apart(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "pairs", degraded="all/{name}_noisy.png", clean="all/{name}.png")
    both = {"degraded_dir": str(root / "all"), "clean_dir": str(root / "all")}
    data = module(root, **both, degraded_name="{name}_noisy")
    assert len(data.train_pairs) == 6
    assert {pair.degraded.name.replace("_noisy", "") for pair in data.train_pairs} == {
        pair.clean.name for pair in data.train_pairs
    }
    with pytest.raises(
        DataError, match=r"^degraded_dir and clean_dir must be two folders, or degraded_name and clean_n"
    ):
        module(root, **both).setup("fit")


def test_a_folder_within_the_other_is_not_searched_twice(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "pairs", degraded="{name}.png", clean="clean/{name}.png")
    data = module(root, degraded_dir=str(root))
    assert [pair.id for pair in data.train_pairs] == [f"photo_{number}.png" for number in range(6)]


@pytest.mark.parametrize(("channels", "bits"), [(1, 8), (1, 16), (3, 16), (2, 8), (5, 16)])
def test_all_bits_and_channels_are_kept(tmp_path: Path, channels: int, bits: int) -> None:
    root = write_pairs(tmp_path / "pairs", channels=channels, bits=bits)
    data = module(root, channels=channels, augment=False)
    for split in ("val", "test"):
        for batch in all_of(data, split):
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


def test_another_number_of_channels_never_uses_converted_files_of_this(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "pairs", channels=1)
    for channels in (3, 1, 3):
        data = module(root, channels=channels)
        assert {batch.image.shape[1] for batch in all_of(data, "train") + all_of(data, "val")} == {channels}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("scale", [2, 3])
def test_smaller_images_are_enlarged(tmp_path: Path, scale: int, bits: int) -> None:
    root = write_pairs(tmp_path / "pairs", scale=scale, channels=1, bits=bits)
    data = module(root, scale=scale, channels=1, predict_dir=str(root / "degraded"))
    for split in ("val", "test"):
        for batch in all_of(data, split):
            small = Image.fromarray(stored(root / "degraded" / batch.id[0])[..., 0].astype(np.float32))
            expected = np.asarray(small.resize(batch.target.shape[:1:-1], Image.Resampling.BICUBIC)).clip(0, 1)
            np.testing.assert_allclose(batch.image[0, 0], expected, atol=0.51 / (2**bits - 1) + 1e-6)
    data.setup("predict")
    first = next(iter(data.predict_dataloader()))
    assert first.image.shape == (1, 1, 48, 60)  # of the size that is wanted, as in training


def test_scenes_stay_on_one_side(tmp_path: Path) -> None:
    root = tmp_path / "pairs"
    for scene in ("hall", "roof", "yard"):
        for shot in range(3):
            name = f"{scene}_{shot}"
            write_pairs(root, seed=shot, count=1, degraded=f"degraded/{name}.png", clean=f"clean/{name}.png")
    seen = set()
    for seed in range(6):
        data = module(root, scene="{scene}_*", split_seed=seed, patches_per_image=1)
        parts = [
            {name.partition("_")[0] for name in names_of(all_of(data, split))} for split in ("train", "val", "test")
        ]
        assert [len(part) for part in parts] == [1, 1, 1]
        assert set.union(*parts) == {"hall", "roof", "yard"}
        seen.add(str(parts))
    assert len(seen) > 1


def test_splits_follow_from_the_seed_and_share_nothing(pairs: Path) -> None:
    parts = []
    for _ in range(2):
        data = module(pairs, patches_per_image=1)
        train = {f"{name[:-5]}.png" for name in names_of(all_of(data, "train"))}
        parts.append([train, names_of(all_of(data, "val")), names_of(all_of(data, "test"))])
    assert parts[0] == parts[1]
    assert [len(part) for part in parts[0]] == [2, 2, 2]
    assert len(set.union(*parts[0])) == 6


def test_folders_of_their_own_replace_fractions(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "pairs")
    write_pairs(tmp_path / "held", seed=1, count=2)
    held = {part: {f"{part}_{side}_dir": str(tmp_path / "held" / side) for side in ("degraded", "clean")}
            for part in ("val", "test")}  # fmt: skip
    data = module(root, **held["val"], **held["test"])
    assert len(all_of(data, "train")) == 5  # 6 pairs, 3 patches of each
    assert names_of(all_of(data, "val")) == names_of(all_of(data, "test")) == {"photo_0.png", "photo_1.png"}
    data = module(root, **held["test"], val_fraction=0.5)
    assert (len(data.val_samples()), len(data.train_samples()), len(data.test_samples())) == (3, 9, 2)
    with pytest.raises(ValueError, match=r"^test_fraction must be null, since test has a folder of its own, got 0\.2$"):
        module(root, **held["test"], test_fraction=0.2)
    with pytest.raises(ValueError, match=r"^val_clean_dir must be a folder, since val_degraded_dir is one, got None$"):
        module(root, val_degraded_dir="x")


@pytest.mark.parametrize("held", [True, False])
def test_validation_may_take_the_middle_of_images(pairs: Path, held: bool) -> None:
    folders = {f"val_{side}_dir": str(pairs / side) for side in ("degraded", "clean")} | {"val_fraction": None}
    data = module(pairs, val_size=50, **({} if held else folders))
    batches = all_of(data, "val")
    assert len(batches) == (2 if held else 6)
    for batch in batches:
        for image, side in ((batch.image, "degraded"), (batch.target, "clean")):
            whole = stored(pairs / side / batch.id[0])
            height = whole.shape[0]
            top = (height - 50) // 2 if height > 50 else 0
            np.testing.assert_allclose(image[0].permute(1, 2, 0), whole[top : top + 50, 5:55], atol=1e-7)
    assert {batch.image.shape[3] for batch in all_of(data, "test")} == {60}


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


def test_unpaired_images_are_named_or_left_out(pairs: Path, caplog: pytest.LogCaptureFixture) -> None:
    (pairs / "clean" / "photo_2.png").unlink()
    (pairs / "degraded" / "photo_4.png").unlink()
    with pytest.raises(
        DataError,
        match=r"^2 images lack their partner \(degraded_dir='.*', clean_dir='.*'\): degraded_dir: photo_2\.png, "
        r"clean_dir: photo_4\.png\. Add them, see to degraded_name and clean_name, or leave them out: "
        r"--data\.init_args\.unpaired=skip\.$",
    ):
        module(pairs).setup("fit")
    with caplog.at_level(logging.INFO, logger="datamodules"):
        assert len(module(pairs, unpaired="skip").train_pairs) == 4
    (told,) = (message for message in caplog.messages if "without partner" in message)
    assert told.endswith(": 2 images without partner are left out: degraded_dir: photo_2.png, clean_dir: photo_4.png")
    assert any(message.endswith(": 4 pairs") for message in caplog.messages)
    with pytest.raises(DataError, match=r"^6 images lack their partner"):  # none is left
        for path in (pairs / "clean").iterdir():
            path.rename(path.with_name(f"x_{path.name}"))
        (pairs / "clean" / "x_photo_5.png").unlink()
        (pairs / "degraded" / "photo_5.png").unlink()
        (pairs / "degraded" / "photo_3.png").unlink()
        (pairs / "clean" / "x_photo_1.png").unlink()
        module(pairs, unpaired="skip").setup("fit")


def test_sizes_that_do_not_fit_are_named(pairs: Path) -> None:
    Image.new("RGB", (31, 40)).save(pairs / "degraded" / "photo_1.png")
    with pytest.raises(
        DataError,
        match=r"/degraded/photo_1\.png' has 40 × 31 pixels, but '.*/clean/photo_1\.png' 60 × 60, which is not scale=1 "
        r"times as many along each side\. Replace or remove the two files\.$",
    ):
        module(pairs).setup("fit")
    Image.new("RGB", (20, 20)).save(pairs / "degraded" / "photo_1.png")
    with pytest.raises(DataError, match=r"If all are so, it is --data\.init_args\.scale=3\.$"):
        module(pairs).setup("test")
    with pytest.raises(DataError, match=r"/photo_0\.png' has 48 × 60 pixels, but .* not scale=4 times as many"):
        module(pairs, scale=4).setup("fit")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("side", ["degraded", "clean"])
def test_pairs_that_a_camera_turned_differently_are_refused(tmp_path: Path, side: str, suffix: str) -> None:
    root = write_pairs(tmp_path / "pairs", size=(60, 60), degraded=f"degraded/{{name}}.{suffix}")
    exif = Image.Exif()
    exif[0x0112] = 3
    (path,) = (root / side).glob("photo_0.*")
    Image.open(path).copy().save(path, exif=exif)
    orientations = r"3, but '.*' 1" if side == "degraded" else r"1, but '.*' 3"
    with pytest.raises(DataError, match=rf"/degraded/photo_0\..*' has the EXIF orientation {orientations}: turned so"):
        module(root).setup("fit")
    (other,) = (root / ("clean" if side == "degraded" else "degraded")).glob("photo_0.*")
    Image.open(other).copy().save(other, exif=exif)
    for split in ("train", "val", "test"):  # both alike: read as shown
        for batch in all_of(module(root), split):
            if batch.id[0].startswith("photo_0."):
                with Image.open(root / "clean" / "photo_0.png") as file:
                    upright = np.asarray(file.transpose(Image.Transpose.ROTATE_180)) / 255
                np.testing.assert_allclose(batch.target[0].permute(1, 2, 0), upright, atol=1e-7)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_notes_after_the_pixels_turn_pairs_of_any_channels(tmp_path: Path, channels: int, bits: int) -> None:
    values = np.random.RandomState(0).randint(0, 2**bits, (6, 40, 52, channels)).astype(f"u{bits // 8}")
    for side in ("degraded", "clean"):
        (tmp_path / side).mkdir()
        for number, pixels in enumerate(values):
            write_png(tmp_path / side / f"{number}.png", pixels, 6, "eXIf, after")
    data = module(tmp_path, channels=channels, cache_dir=str(tmp_path / "cache"))
    for split in ("val", "test"):
        for batch in all_of(data, split):
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


@pytest.mark.parametrize("kind", ["turned", "size"])
def test_pairs_that_changed_since_they_were_found_are_named(pairs: Path, kind: str) -> None:
    data = module(pairs, scale=1)
    samples = data.test_samples()
    exif = Image.Exif()
    exif[0x0112] = 6
    for path in (pairs / "clean").iterdir():
        with Image.open(path) as file:
            image = file.copy()
        if kind == "turned":
            image.save(path, exif=exif)
        else:
            image.resize((image.width * 2, image.height * 2)).save(path)
    message = "has the EXIF orientation 1, but '.*' 6" if kind == "turned" else r"If all are so, .*scale=2\."
    with pytest.raises(DataError, match=message):
        samples[0]


def test_stacks_are_told(tmp_path: Path) -> None:
    for side in ("degraded", "clean"):
        (tmp_path / side).mkdir()
        for number in range(6):
            tifffile.imwrite(
                tmp_path / side / f"{number}.tif", np.zeros((5, 40, 52), np.uint8), photometric="minisblack"
            )
    with pytest.raises(
        DataError,
        match=r"\.tif' holds 5 pages of one channel, not channels=3\. Replace it, or read all images with "
        r"--data\.init_args\.channels=5\.$",
    ):
        module(tmp_path).setup("fit")
    module(tmp_path, channels=5).setup("fit")


def test_grey_and_colour_do_not_mix(pairs: Path) -> None:
    path = pairs / "degraded" / "photo_0.png"
    Image.open(path).convert("L").save(path)
    with pytest.raises(
        DataError, match=r"/degraded/photo_0\.png' is grey, but '.*/clean/photo_0\.png' in colour\. Replace or"
    ):
        for split in ("train", "val", "test"):
            all_of(module(pairs), split)
    Image.open(path).save(pairs / "clean" / "photo_0.png")
    Image.open(path).convert("RGB").save(path)  # grey, stored in colour
    for split in ("train", "val", "test"):
        assert all_of(module(pairs), split)
    with pytest.raises(DataError, match=r"photo_\d\.png' is in colour, not grey as channels=1 wants it"):
        module(pairs, channels=1).setup("fit")


def test_folders_that_are_missing_or_empty_are_named(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for argument in ("degraded_dir", "clean_dir"):
        with pytest.raises(
            DataError, match=rf"^{argument}='.*/absent' does not exist\. Name a folder that holds images"
        ):
            module(pairs, **{argument: str(tmp_path / "absent")}).setup("fit")
        with pytest.raises(DataError, match=rf"^{argument}='.*/empty' holds no images: none of the 0 files in it"):
            module(pairs, **{argument: str(tmp_path / "empty")}).setup("fit")
    held = {"test_degraded_dir": str(pairs / "degraded"), "test_clean_dir": str(tmp_path / "absent")}
    with pytest.raises(DataError, match=r"^test_clean_dir='.*/absent' does not exist\."):
        module(pairs, **held).setup("test")
    with pytest.raises(
        DataError,
        match=r"^clean_dir='.*' holds no image named clean_name='\{name\}_gt', which is without suffix, but photo_0\.",
    ):
        module(pairs, clean_name="{name}_gt").setup("fit")


def test_damaged_images_and_small_ones_are_named(pairs: Path) -> None:
    with pytest.raises(DataError, match=r"^'photo_0\.png' has 48 × 60 pixels, too few for patch_size=49\. Choose"):
        module(pairs, patch_size=49).setup("fit")
    (pairs / "clean" / "photo_3.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"/clean/photo_3\.png' cannot be read as an image: its format is none that"):
        module(pairs).setup("fit")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0}, "scale must be at least 1, got 0"),
        ({"val_size": 0}, "val_size must be at least 1, got 0"),
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"predict_upscale": 0}, "predict_upscale must be at least 1, got 0"),
        ({"unpaired": "drop"}, "unpaired must be one of error, skip, got 'drop'"),
        ({"degraded_name": "noisy"}, "degraded_name must be a pattern with {name} in it once, such as .*, got 'noisy'"),
        ({"scene": "hall"}, r"scene must be a pattern with {scene} in it once, such as '{scene}_\*', got 'hall'"),
        ({"val_fraction": 1.5}, "val_fraction must be above 0 and below 1, got 1.5"),
        ({"val_fraction": 0.6, "test_fraction": 0.5}, r"val_fraction \+ test_fraction must be below 1, .*, got 1.1"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{message}$"):
        PairedFoldersDataModule(**arguments)
