from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import loadmat

from datamodules import DataError, SyntheticCrowdDataModule
from datamodules.crowd import synthetic
from datamodules.crowd.drawing.scenes import Scene, render_scene

SMALL: dict[str, Any] = {"num_train": 5, "num_test": 3, "height": 96, "width": 128, "max_heads": 200}


def crowd(folder: Path, **arguments: Any) -> SyntheticCrowdDataModule:
    return SyntheticCrowdDataModule(str(folder), **(SMALL | {"crop_size": 64, "num_workers": 0} | arguments))


def contents(folder: Path) -> dict[str, bytes]:
    """All scenes below a folder, by their paths in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.suffix in (".jpg", ".mat")
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data_dir with one set of scenes; not to be changed."""
    folder = tmp_path_factory.mktemp("synthetic_crowd")
    crowd(folder).prepare_data()
    return folder


def test_layout_is_the_published_one(written: Path) -> None:
    (scenes,) = written.iterdir()
    part = scenes / "part_A_final"
    counts = {"train": SMALL["num_train"], "test": SMALL["num_test"]}
    assert sorted(contents(scenes)) == sorted(
        f"part_A_final/{split}_data/{name}"
        for split, count in counts.items()
        for number in range(1, count + 1)
        for name in (f"images/IMG_{number}.jpg", f"ground_truth/GT_IMG_{number}.mat")
    )
    heads = 0
    for annotation in part.rglob("*.mat"):
        image = annotation.parents[1] / "images" / f"{annotation.stem.removeprefix('GT_')}.jpg"
        with Image.open(image) as file:
            assert (file.size, file.mode, file.format) == ((128, 96), "RGB", "JPEG")
        variables = loadmat(annotation)
        info = variables["image_info"][0, 0][0, 0]
        points, sizes = info[0], variables["head_sizes"]
        assert info.dtype.names == ("location", "number")
        assert points.shape == (info["number"].item(), 2)
        assert sizes.shape == (len(points), 1)
        assert ((points >= 0) & (points <= (127, 95))).all()
        heads += len(points)
    assert heads > 0


@pytest.mark.parametrize(("split", "part"), [("train", 0), ("test", 1)])
def test_scenes_are_those_documented(split: str, part: int, written: Path) -> None:
    (scenes,) = written.iterdir()
    folder = scenes / "part_A_final" / f"{split}_data"
    for number in (1, 2, 3):
        scene = render_scene((0, part, number), 96, 128, max_heads=200)
        variables = loadmat(folder / "ground_truth" / f"GT_IMG_{number}.mat")
        assert np.array_equal(variables["image_info"][0, 0][0, 0][0], scene.points)
        assert np.array_equal(variables["head_sizes"][:, 0], scene.head_sizes)
        with Image.open(folder / "images" / f"IMG_{number}.jpg") as file:
            assert np.abs(np.asarray(file, float) - scene.image).mean() < 8  # JPEG's loss, most of it of noise


def test_the_loader_of_shanghaitech_reads_it(written: Path) -> None:
    data = crowd(written, val_fraction=0.2, batch_size=4)
    for stage in ("fit", "test"):
        data.setup(stage)
    batch = next(iter(data.train_dataloader()))
    assert batch.image.shape == (4, 3, 64, 64)
    whole = [*data.val_dataloader(), *data.test_dataloader()]
    assert len(whole) == 4
    for batch in whole:
        assert batch.image.shape == (1, 3, 96, 128)
        image = Path(data.data_dir, "part_A_final", batch.id[0])
        annotation = image.parents[1] / "ground_truth" / f"GT_{image.stem}.mat"
        points = loadmat(annotation)["image_info"][0, 0][0, 0][0]
        assert batch.num_heads.tolist() == [len(points)]
        assert np.array_equal(batch.points[0], points.astype(np.float32))
        assert torch.allclose(batch.density.sum(), batch.num_heads.float(), rtol=1e-4)


def test_scenes_are_drawn_once(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(written)
    monkeypatch.delattr(synthetic, "render_scene")
    crowd(written, batch_size=1, sigma=3.0).prepare_data()
    assert contents(written) == before


def test_scenes_repeat_and_all_differ(written: Path, tmp_path: Path) -> None:
    crowd(tmp_path).prepare_data()
    assert contents(tmp_path) == contents(written)
    images = [content for path, content in contents(tmp_path).items() if path.endswith(".jpg")]
    assert len(set(images)) == len(images) == 8


@pytest.mark.parametrize(
    "other",
    [{"num_train": 2}, {"num_test": 2}, {"height": 80}, {"width": 160}, {"max_heads": 100}, {"scene_seed": 1}],
    ids=str,
)
def test_other_scenes_in_the_same_folder_do_not_mix(other: dict[str, Any], tmp_path: Path) -> None:
    few = {"num_train": 1, "num_test": 1}
    first, second = crowd(tmp_path, **few), crowd(tmp_path, **(few | other))
    first.prepare_data()
    before = contents(Path(first.data_dir))
    second.prepare_data()
    assert contents(Path(first.data_dir)) == before
    alone = crowd(tmp_path / "alone", **(few | other))
    alone.prepare_data()
    assert contents(Path(second.data_dir)) == contents(Path(alone.data_dir))


@pytest.mark.parametrize("whole", [0, 1, 6])
def test_what_was_interrupted_goes_on(
    whole: int, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Scene] = []

    def interrupted(*arguments: Any, **named: Any) -> Scene:
        if len(drawn) == whole:
            raise KeyboardInterrupt
        drawn.append(render_scene(*arguments, **named))
        return drawn[-1]

    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(synthetic, "render_scene", interrupted)
        crowd(tmp_path).prepare_data()
    done = contents(tmp_path)
    assert len(done) == 2 * whole
    crowd(tmp_path).prepare_data()
    assert contents(tmp_path) == contents(written)
    assert done.items() <= contents(written).items()


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/.* cannot be written to .*--data\.init_args\.data_dir=FOLDER"):
        crowd(tmp_path / "file").prepare_data()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_train": 0}, "num_train must be at least 1, got 0"),
        ({"num_test": 0}, "num_test must be at least 1, got 0"),
        ({"height": 32}, "height must be at least 64, got 32"),
        ({"max_heads": 2001}, "max_heads must be from 1 to 2000, got 2001"),
        ({"scene_seed": -1}, "scene_seed must be at least 0, got -1"),
        ({"kernel_size": 4}, "kernel_size must be odd, .*, got 4"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        crowd(tmp_path, **arguments)
