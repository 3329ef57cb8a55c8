from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import v2

from datamodules import DataError, ImageNetDataModule
from datamodules.batches import ImageBatch, LabelledBatch
from datamodules.samples import collate
from tests.support.image_files import IMAGENET_CLASSES, ImageFiles, write_imagenet

CLASSES = sorted(IMAGENET_CLASSES)
SIZES = {"train": 5 + 6 + 7 + 8 + 9, "val": 2 + 3 + 4 + 5 + 6}


def module(root: Path, **arguments: Any) -> ImageNetDataModule:
    small = {"num_workers": 0, "total_batch_size": 8, "resize_size": 36, "crop_size": 32}
    return ImageNetDataModule(str(root), **(small | arguments))


def all_of(data: ImageNetDataModule, split: str) -> LabelledBatch:
    return collate(list(getattr(data, f"{split}_dataloader")()))


def on_device(data: ImageNetDataModule, rank: int, devices: int) -> ImageNetDataModule:
    data.trainer = SimpleNamespace(world_size=devices, global_rank=rank)
    return data


def test_both_layouts_are_the_same_data(imagenet_root: Path, raw_imagenet_root: Path) -> None:
    folders, raw = module(imagenet_root, augmentation="none"), module(raw_imagenet_root, augmentation="none")
    in_folders, as_published = all_of(folders, "val"), all_of(raw, "val")
    assert as_published.id == [f"val/ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, SIZES["val"] + 1)]
    labels = {name.split("/")[1]: label for name, label in zip(in_folders.id, in_folders.label.tolist(), strict=True)}
    assert labels == {name: label for label, name in enumerate(CLASSES)}
    order = np.argsort([name.rpartition("/")[2] for name in in_folders.id])
    assert torch.equal(in_folders.label[order], as_published.label)
    assert torch.equal(in_folders.image[order], as_published.image)
    train = [all_of(data, "train") for data in (folders, raw)]
    assert sorted(train[0].id) == sorted(train[1].id)
    assert len(train[0].id) == SIZES["train"]
    for name, label in zip(train[0].id, train[0].label.tolist(), strict=True):
        assert name.startswith(f"train/{CLASSES[label]}/{CLASSES[label]}_")


def test_class_names(imagenet_root: Path, raw_imagenet_root: Path) -> None:
    assert module(imagenet_root).class_names == CLASSES
    assert module(raw_imagenet_root).class_names == [
        "tench, Tinca tinca",
        "crane (n02012849)",
        "tabby, tabby cat",
        "crane (n03126707)",
        "banana",
    ]


def test_batches_have_the_documented_shapes(imagenet_root: Path) -> None:
    data = ImageNetDataModule(str(imagenet_root), total_batch_size=5, num_workers=1)
    batch = next(iter(data.train_dataloader()))
    assert isinstance(batch, LabelledBatch)
    assert (batch.image.shape, batch.image.dtype) == ((5, 3, 224, 224), torch.uint8)
    assert (batch.label.shape, batch.label.dtype, len(batch.id)) == ((5,), torch.int64, 5)
    ready = data.on_after_batch_transfer(batch, 0)
    assert isinstance(ready, LabelledBatch)
    assert (ready.image.shape, ready.image.dtype) == ((5, 3, 224, 224), torch.float32)
    for images in (batch.image, ready.image):
        assert images.is_contiguous(memory_format=torch.channels_last)


def reference(path: Path, resize_size: int, crop_size: int) -> Tensor:
    """Evaluation with torchvision and Pillow alone."""
    transform = v2.Compose(
        [
            v2.Resize(resize_size, antialias=True),
            v2.CenterCrop(crop_size),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    with Image.open(path) as file:
        return transform(ImageOps.exif_transpose(file).convert("RGB"))


@pytest.mark.parametrize(("resize_size", "crop_size"), [(256, 224), (37, 32)])
@pytest.mark.parametrize("split", ["train", "val"])
def test_evaluation_is_that_of_torchvision(imagenet_root: Path, split: str, resize_size: int, crop_size: int) -> None:
    data = module(imagenet_root, resize_size=resize_size, crop_size=crop_size, augmentation="none")
    batch = data.on_after_batch_transfer(all_of(data, split), 0)
    for image, name in zip(batch.image, batch.id, strict=True):
        expected = reference(imagenet_root / name, resize_size, crop_size)
        assert (image - expected).abs().max() < 1.01 / 255 / 0.224  # one level, in units of the standard deviation


def test_training_images_are_random_parts(imagenet_root: Path) -> None:
    torch.manual_seed(0)
    for augmentation, differ in (("standard", True), ("trivial_augment", True), ("none", False)):
        samples = module(imagenet_root, augmentation=augmentation).train_samples()
        assert torch.equal(samples[9].image, samples[9].image) != differ
        assert samples[9].image.shape == (1, 3, 32, 32)
    for samples in (module(imagenet_root).val_samples(), module(imagenet_root, val_fraction=0.3).val_samples()):
        assert torch.equal(samples[9].image, samples[9].image)


def test_published_validation_images_are_validation_and_test(imagenet_root: Path) -> None:
    data = module(imagenet_root)
    assert all_of(data, "val").id == all_of(data, "test").id
    assert len(all_of(data, "train").id) == SIZES["train"]


def test_part_of_training_can_be_held_out(imagenet_root: Path) -> None:
    data = module(imagenet_root, val_fraction=0.4)
    train, val, test = (all_of(data, split) for split in ("train", "val", "test"))
    assert sorted(train.id + val.id) == sorted(all_of(module(imagenet_root), "train").id)
    assert val.label.bincount().tolist() == [2, 2, 3, 3, 4]
    assert {name.split("/")[0] for name in test.id} == {"val"}
    assert val.id == all_of(module(imagenet_root, val_fraction=0.4), "val").id
    assert val.id != all_of(module(imagenet_root, val_fraction=0.4, split_seed=1), "val").id


@pytest.mark.parametrize("augmentation", ["standard", "trivial_augment"])
def test_epochs_follow_from_the_seed_for_any_number_of_workers(imagenet_root: Path, augmentation: str) -> None:
    runs = []
    for num_workers in (1, 2):
        torch.manual_seed(3)
        data = module(imagenet_root, augmentation=augmentation, num_workers=num_workers)
        loader = data.train_dataloader()
        epochs = [collate(list(loader)) for _ in range(2)]
        runs.append(epochs)
        assert epochs[0].id != epochs[1].id
    for epochs in runs[1:]:
        for epoch, expected in zip(epochs, runs[0], strict=True):
            assert epoch.id == expected.id
            assert torch.equal(epoch.image, expected.image)


def test_total_batch_size_is_shared_out(imagenet_root: Path) -> None:
    for devices, expected in ((1, 8), (2, 4), (8, 1)):
        data = on_device(module(imagenet_root), 0, devices)
        data.setup("fit")
        assert data.train_dataloader().batch_size == data.val_dataloader().batch_size == expected
    data = on_device(module(imagenet_root), 0, 3)
    with pytest.raises(DataError, match=r"^total_batch_size must be a multiple of the 3 devices, got 8$"):
        data.setup("fit")


def test_single_image_is_left_out_on_each_device(imagenet_root: Path) -> None:
    assert on_device(module(imagenet_root, total_batch_size=34), 0, 2).train_dataloader().drop_last  # 18 = 17 + 1
    assert not module(imagenet_root, total_batch_size=33).train_dataloader().drop_last


@pytest.mark.parametrize("split", ["val", "test", "predict"])
def test_devices_share_out_evaluation_without_repeating(raw_imagenet_root: Path, split: str) -> None:
    names: list[list[str]] = []
    for rank in range(2):
        data = module(raw_imagenet_root, num_workers=1, predict_dir=str(raw_imagenet_root))
        names.append(all_of(on_device(data, rank, 2), split).id)
    data = module(raw_imagenet_root, predict_dir=str(raw_imagenet_root))
    assert sorted(names[0] + names[1]) == sorted(all_of(data, split).id)
    assert len(set(names[0] + names[1])) == (55 if split == "predict" else 20)


def test_loaders_keep_workers_and_look_ahead(imagenet_root: Path) -> None:
    loader = module(imagenet_root, num_workers=2, prefetch_factor=3).train_dataloader()
    assert (loader.num_workers, loader.persistent_workers, loader.prefetch_factor) == (2, True, 3)
    assert 1 <= ImageNetDataModule().num_workers <= 8


def test_prediction_needs_the_names_of_the_classes_alone(
    tmp_path: Path, odd_images: ImageFiles, raw_imagenet_root: Path
) -> None:
    folder, expected = odd_images
    for name in ("one", "two"):
        (tmp_path / "train" / name).mkdir(parents=True)
    data = module(tmp_path, predict_dir=str(folder))
    data.setup("predict")
    batch = collate(list(data.predict_dataloader()))
    assert isinstance(batch, ImageBatch)
    assert (batch.image.shape, batch.image.dtype) == ((len(expected), 3, 32, 32), torch.uint8)
    assert data.class_names == ["one", "two"]
    (tmp_path / "devkit").mkdir()
    (tmp_path / "devkit" / "ILSVRC2012_devkit_t12").symlink_to(raw_imagenet_root / "ILSVRC2012_devkit_t12")
    assert len(module(tmp_path / "devkit").class_names) == 5


def test_validation_needs_no_training_images(raw_imagenet_root: Path, imagenet_root: Path, tmp_path: Path) -> None:
    for place, root in (("raw", raw_imagenet_root), ("folders", imagenet_root)):
        (tmp_path / place).mkdir()
        for name in ("val", "ILSVRC2012_devkit_t12"):
            (tmp_path / place / name).symlink_to(root / name)
        data = module(tmp_path / place)
        data.setup("test")
        assert torch.equal(all_of(data, "test").label, all_of(module(root), "test").label)
        with pytest.raises(DataError, match=r"' has no folder 'train'\. Put one folder of images for each class there"):
            data.setup("fit")


class Recorder(lightning.LightningModule):
    """Notes the images it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: dict[str, Tensor] = {}

    def training_step(self, batch: LabelledBatch) -> Tensor:
        self.seen["train"] = batch.image
        return self.weight * batch.image.mean()

    def validation_step(self, batch: LabelledBatch) -> None:
        self.seen["val"] = batch.image

    def test_step(self, batch: LabelledBatch) -> None:
        self.seen["test"] = batch.image

    def predict_step(self, batch: ImageBatch) -> None:
        self.seen["predict"] = batch.image

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("32-true", torch.float32), ("bf16-true", torch.bfloat16), ("bf16-mixed", torch.float32)]
)
def test_tasks_get_normalised_images(imagenet_root: Path, precision: Any, dtype: torch.dtype) -> None:
    task = Recorder()
    data = module(imagenet_root, predict_dir=str(imagenet_root / "val"))
    trainer = lightning.Trainer(
        accelerator="cpu",
        precision=precision,
        fast_dev_run=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, data)
    trainer.test(task, data, verbose=False)
    trainer.predict(task, data, return_predictions=False)
    assert {split: image.dtype for split, image in task.seen.items()} == dict.fromkeys(
        ("train", "val", "test", "predict"), dtype
    )
    for image in task.seen.values():
        assert -2.2 < image.min() < -0.1 and abs(image.mean()) < 1.5


@pytest.mark.parametrize("content", [b"", b"not an image", b"half"])
def test_evaluation_fails_with_the_name_of_an_unreadable_image(tmp_path: Path, content: bytes) -> None:
    root = write_imagenet(tmp_path)
    path = root / "val" / CLASSES[2] / sorted(p.name for p in (root / "val" / CLASSES[2]).iterdir())[1]
    path.write_bytes(path.read_bytes()[:-300] if content == b"half" else content)
    for num_workers in (0, 1):
        data = module(root, max_corrupt=9, num_workers=num_workers)
        # Not pytest.raises: its traceback would keep the iterator until collection, which then takes five seconds.
        message = "no error"
        try:
            all_of(data, "val")
        except DataError as error:
            message = str(error.with_traceback(None))
        assert message.startswith(f"'{path}' cannot be read as an image: ")
        assert message.endswith(". Replace or remove the file.")


def test_training_skips_as_many_unreadable_images_as_allowed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_imagenet(tmp_path)
    for number in (0, 1):
        (root / "train" / CLASSES[4] / f"{CLASSES[4]}_{number}.JPEG").write_bytes(b"")
    batch = all_of(module(root, max_corrupt=2, augmentation="none"), "train")
    assert len(batch.id) == SIZES["train"]
    assert batch.id.count(f"train/{CLASSES[4]}/{CLASSES[4]}_2.JPEG") == 3
    assert len(caplog.messages) == 2
    with pytest.raises(DataError, match=r"may skip 1 such files and this is number 2: .*max_corrupt=N\.$"):
        all_of(module(root, max_corrupt=1), "train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"total_batch_size": 0}, "total_batch_size must be at least 1, got 0"),
        ({"num_workers": -1}, "num_workers must be at least 0, got -1"),
        ({"prefetch_factor": 0}, "prefetch_factor must be at least 1, got 0"),
        ({"val_fraction": 1.0}, "val_fraction must be above 0 and below 1, got 1.0"),
        ({"split_seed": -1}, "split_seed must be at least 0, got -1"),
        ({"max_corrupt": -1}, "max_corrupt must be at least 0, got -1"),
        ({"crop_size": 300}, "resize_size must be at least crop_size = 300, got 256"),
        (
            {"augmentation": "strong"},
            "augmentation must be one of standard, trivial_augment, none, got 'strong'",
        ),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        ImageNetDataModule(**arguments)
    assert str(caught.value) == message
