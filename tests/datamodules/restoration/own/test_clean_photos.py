"""Clean photographs that are degraded on the fly: what is drawn, when it is drawn anew, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from torch import Tensor, nn

from datamodules import CleanPhotosDataModule, DataError
from datamodules.batches import RestorationBatch
from datamodules.restoration.degradations import JPEG, Bicubic, CameraNoise, GaussianNoise, VaryingBlur
from datamodules.restoration.own.degraded_samples import DegradedPatches
from datamodules.samples import collate
from datamodules.types import Map
from tests.datamodules.restoration.own.conftest import all_of, held_out
from tests.support.restoration_files import draw_photograph, write_pairs


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photographs in ``clean/``; not to be changed."""
    return write_pairs(tmp_path_factory.mktemp("photos") / "pairs", size=(60, 72))


def module(root: Path, **arguments: Any) -> CleanPhotosDataModule:
    small = {"num_workers": 0, "batch_size": 4, "patch_size": 24, "patches_per_image": 3}
    small |= {"val_fraction": 0.3, "test_fraction": 0.3, "cache_dir": str(root.parent / "cache")}
    return CleanPhotosDataModule(**({"clean_dir": str(root / "clean")} | small | arguments))


def stored(root: Path, name: str) -> Tensor:
    return torch.from_numpy(np.asarray(Image.open(root / "clean" / name), np.float32) / 255).permute(2, 0, 1)


class Invert:
    """Draws nothing and looks at no neighbours, as a user's own class might."""

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength

    def __call__(self, image: Map, random: np.random.Generator) -> Map:
        return (image + self.strength * (1 - 2 * image)).astype(np.float32)


def test_targets_are_the_files_and_images_what_the_degradation_makes_of_them(photos: Path) -> None:
    data = module(photos, degradation=Invert(), augment=False)
    for batch in held_out(data):
        assert torch.equal(batch.target[0], stored(photos, batch.id[0]))
        torch.testing.assert_close(batch.image, 1 - batch.target)
    patches = collate(all_of(data, "train"))
    assert len(patches.id) == len(set(patches.id)) == 6
    torch.testing.assert_close(patches.image, 1 - patches.target)
    for target, name in zip(patches.target, patches.id, strict=True):
        windows = stored(photos, f"{name[:-5]}.png").unfold(1, 24, 1).unfold(2, 24, 1)
        assert (windows == target[:, None, None]).all(0).flatten(2).all(2).any()


@pytest.mark.parametrize("channels", [3, 1])
def test_photographs_are_reduced_by_averaging_before_all_else(tmp_path: Path, channels: int) -> None:
    """In squares of three pixels, in validation, test and patches alike; what fills none is left out."""
    root = write_pairs(tmp_path / "pairs", size=(61, 79), channels=channels)
    data = module(root, degradation=Invert(), shrink=3, patch_size=20, augment=False, channels=channels)
    data.setup("fit")
    for batch in [*held_out(data), *all_of(data, "val")]:
        with Image.open(root / "clean" / batch.id[0]) as file:
            whole = np.asarray(file, float).reshape(file.height, file.width, channels)
        rows, columns = (range(0, length - 2, 3) for length in whole.shape[:2])
        means = [[whole[i : i + 3, j : j + 3].mean((0, 1)) for j in columns] for i in rows]
        expected = torch.tensor(np.rint(means) / 255).permute(2, 0, 1).float()
        torch.testing.assert_close(batch.target[0], expected)
        torch.testing.assert_close(batch.image, 1 - batch.target)
    patches = collate(all_of(data, "train"))
    assert patches.target.shape == (6, channels, 20, 20)
    torch.testing.assert_close(patches.image, 1 - patches.target)


@pytest.mark.parametrize(
    "degradation", [GaussianNoise((0, 50)), CameraNoise(), [VaryingBlur(), GaussianNoise(10), JPEG()]]
)
def test_evaluation_draws_the_same_each_time_for_any_number_of_workers(photos: Path, degradation: Any) -> None:
    found = []
    for num_workers, seed in ((0, 1), (2, 5), (0, 9)):
        torch.manual_seed(seed)
        np.random.seed(seed)
        data = module(photos, degradation=degradation, num_workers=num_workers)
        batches = held_out(data) + all_of(data, "val")
        found.append({name: batch.image for batch in batches for name in batch.id})
    for name, image in found[0].items():
        assert torch.equal(image, found[1][name]) and torch.equal(image, found[2][name])
    other = module(photos, degradation=degradation, data_seed=1)
    for batch in all_of(other, "val"):
        assert not torch.equal(batch.image, found[0][batch.id[0]])
    first, second, *_ = found[0].values()
    assert not torch.equal(first[..., :24, :24], second[..., :24, :24])


def test_what_evaluation_draws_for_an_image_does_not_depend_on_the_others(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "pairs", count=4)
    held = {"test_clean_dir": str(root / "clean"), "test_fraction": None, "degradation": GaussianNoise()}
    before = {batch.id[0]: batch.image for batch in all_of(module(root, **held), "test")}
    (root / "clean" / "photo_0.png").unlink()
    after = {batch.id[0]: batch.image for batch in all_of(module(root, **held), "test")}
    assert len(after) == 3
    assert all(torch.equal(before[name], image) for name, image in after.items())


def test_noise_in_evaluation_has_the_psnr_of_its_sigma(photos: Path) -> None:
    for sigma in (15, 50):
        errors = [
            (batch.image - batch.target).double().square().mean().item()
            for batch in all_of(module(photos, degradation=GaussianNoise(sigma)), "test")
        ]
        assert -10 * np.log10(np.mean(errors)) == pytest.approx(20 * np.log10(255 / sigma), abs=0.15)


def epochs(data: CleanPhotosDataModule, count: int) -> list[RestorationBatch]:
    torch.manual_seed(3)
    loader = data.train_dataloader()
    return [collate(list(loader)) for _ in range(count)]


def test_epochs_differ_and_follow_from_the_seed_for_any_number_of_workers(photos: Path) -> None:
    degradation = [GaussianNoise((10, 40)), JPEG()]
    found = [epochs(module(photos, degradation=degradation, num_workers=n), 2) for n in (0, 1, 2)]
    for others in found[1:]:
        for epoch, same in zip(found[0], others, strict=True):
            assert epoch.id == same.id
            assert torch.equal(epoch.image, same.image) and torch.equal(epoch.target, same.target)
    first, second = found[0]
    assert set(first.id) == set(second.id)
    assert not torch.equal(first.image, second.image)


def test_noise_of_a_patch_is_drawn_anew_in_each_epoch(tmp_path: Path) -> None:
    """From images as large as a patch, so that place and pose do not differ."""
    root = write_pairs(tmp_path / "pairs", count=6, size=(24, 24))
    for path in (root / "clean").glob("*[1-5].png"):
        path.write_bytes((root / "clean" / "photo_0.png").read_bytes())
    data = module(root, degradation=GaussianNoise(20), augment=False, patches_per_image=1)
    noise = [(epoch.image - epoch.target).flatten(1) for epoch in epochs(data, 4)]
    correlations = torch.corrcoef(torch.cat(noise))
    assert (correlations - torch.eye(len(correlations))).abs().max() < 0.15


@pytest.mark.parametrize(("top", "left"), [(0, 0), (4, 100), (24, 60), (124, 136), (60, 8)])
@pytest.mark.parametrize("scale", [2, 4])
def test_a_patch_is_degraded_as_the_whole_image_is(scale: int, top: int, left: int) -> None:
    """At multiples of the scale, where what is left out beyond the surroundings does not matter."""
    clean = draw_photograph(148, 160, np.random.RandomState(0))
    patches = DegradedPatches(Bicubic(scale), [], lambda pair: (clean, clean), side=24, per_image=1)
    degraded, target = patches.cut((clean, clean), top, left)
    whole = Bicubic(scale)(clean.astype(np.float32) / np.float32(255), np.random.default_rng(0))
    part = slice(top, top + 24), slice(left, left + 24)
    np.testing.assert_array_equal(target, clean[part])
    np.testing.assert_allclose(degraded, whole[part], atol=1e-6)


class Task(LightningModule):
    """Notes the batches it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.seen: list[tuple[list[str], float]] = []

    def training_step(self, batch: RestorationBatch, batch_idx: int) -> Tensor:
        self.seen.append((batch.id, batch.image.double().sum().item()))
        return (self.scale * batch.image - batch.target).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_training_resumed_within_an_epoch_goes_on_with_the_same_batches(
    photos: Path, tmp_path: Path, num_workers: int
) -> None:
    def fit(folder: str, ckpt_path: Path | None = None) -> Task:
        seed_everything(3, workers=True, verbose=False)
        task = Task()
        saved = ModelCheckpoint(tmp_path / folder, "{step}", every_n_train_steps=1, save_top_k=-1,
                                auto_insert_metric_name=False)  # fmt: skip
        data = module(photos, degradation=[CameraNoise(), JPEG()], num_workers=num_workers, batch_size=1)
        Trainer(
            max_epochs=3, logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
            limit_val_batches=0, callbacks=[saved],
        ).fit(task, data, ckpt_path=ckpt_path, weights_only=True)  # fmt: skip
        return task

    whole = fit("whole").seen
    assert len(whole) == len({total for _, total in whole}) == 18
    assert fit("resumed", tmp_path / "whole" / "8.ckpt").seen == whole[8:]


def test_one_file_is_converted_once_and_no_degraded_one_is_written(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "pairs", channels=1, bits=16)
    data = module(root, channels=1)
    data.setup("fit")
    written = list((tmp_path / "cache").rglob("*.npy"))
    assert len(written) == 4
    assert {np.load(path).dtype for path in written} == {np.dtype(np.uint16)}
    assert collate(all_of(data, "train")).image.shape == (6, 1, 24, 24)


def test_configurations_name_degradations_and_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "my_degradations.py").write_text(
        "class Darken:\n"
        "    def __init__(self, by: float = 0.5):\n"
        "        self.by = by\n"
        "    def __call__(self, image, random):\n"
        "        return image * image.dtype.type(self.by)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(CleanPhotosDataModule, "data")
    place = "datamodules.restoration.degradations"
    own = {"class_path": "my_degradations.Darken", "init_args": {"by": 0.25}}
    chain = [
        own,
        {"class_path": f"{place}.GaussianNoise", "init_args": {"sigma": [0, 55]}},
        {"class_path": f"{place}.JPEG"},
    ]
    image = np.full((32, 32, 3), 0.5, np.float32)
    for given in (own, chain):
        config = parser.parse_object(
            {"data": {"class_path": "datamodules.CleanPhotosDataModule", "init_args": {"degradation": given}}}
        )
        data = parser.instantiate_classes(config).data
        degraded = data.degradation(image, np.random.default_rng(0))
        assert degraded.mean() == pytest.approx(0.125, abs=0.05)
        assert (degraded.std() > 0) == (given is chain)


def test_images_to_predict_come_as_they_are(photos: Path) -> None:
    data = module(photos, predict_dir=str(photos / "degraded"), predict_upscale=2)
    data.setup("predict")
    first = next(iter(data.predict_dataloader()))
    assert first.image.shape == (1, 3, 120, 144)


def wrong(image: Map, random: np.random.Generator) -> Map:
    return image[..., 0]


def test_faults_are_told_before_anything_runs(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"^degradation must give what it is given, float32 \[64, 64, 3\], got float32 \["
    ):
        module(photos, degradation=wrong).setup("fit")
    grey = write_pairs(tmp_path / "grey", channels=1)
    with pytest.raises(DataError, match=r"^channels must be 3 for CameraNoise, whose sensor sees .*, got 1$"):
        module(grey, channels=1, degradation=CameraNoise()).setup("test")
    with pytest.raises(DataError, match=r"^clean_dir='.*/absent' does not exist\. Name a folder that holds images"):
        module(photos, clean_dir=str(tmp_path / "absent")).setup("fit")
    held = {"val_clean_dir": str(tmp_path), "val_fraction": None}
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"/a\.png' cannot be read as an image: "):
        module(photos, **held).setup("fit")
    with pytest.raises(ValueError, match=r"^val_fraction must be null, since val has a folder of its own, got 0\.3$"):
        module(photos, val_clean_dir="x")
    with pytest.raises(ValueError, match=r"^data_seed must be at least 0, got -1$"):
        module(photos, data_seed=-1)


def test_two_files_of_one_name_are_told(tmp_path: Path) -> None:
    """They show the same, perhaps, and would be on both sides of a split; and are converted to one file."""
    root = write_pairs(tmp_path / "pairs")
    (root / "clean" / "photo_1.jpg").write_bytes((root / "clean" / "photo_1.png").read_bytes())
    with pytest.raises(DataError, match=r"gives 'photo_1\.jpg' and 'photo_1\.png' one name, 'photo_1'\. Remove one of"):
        module(root).setup("fit")
