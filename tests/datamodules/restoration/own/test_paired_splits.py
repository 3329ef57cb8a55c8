"""How pairs are split: by scene and seed, or as folders of their own; and what part of an image validation takes."""

from pathlib import Path

import numpy as np
import pytest

from tests.datamodules.restoration.own.conftest import all_of, module, names_of, stored
from tests.support.restoration_files import write_pairs


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
