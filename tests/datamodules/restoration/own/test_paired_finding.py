"""Which files of two folders are pairs, and what is said of images and folders without any."""

import logging
from pathlib import Path

import numpy as np
import pytest

from datamodules import DataError
from datamodules.samples import collate
from tests.datamodules.restoration.own.conftest import all_of, held_out, module, names_of, stored
from tests.support.restoration_files import write_pairs

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
    found = held_out(data)
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
