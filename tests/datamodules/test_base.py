from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from datamodules import DataError, ImageDataModule
from datamodules.batches import ImageBatch, LabelledBatch
from datamodules.samples import ImageFolder, LabelledArrays, collate
from datamodules.transforms.pixels import Normalise
from tests.support.image_files import ImageFiles

to_tensor = Normalise([0, 0, 0], [1, 1, 1])


class Tiny(ImageDataModule):
    """As many black images in each split as it is told."""

    def __init__(self, count: int = 7, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.count = count
        self.read = []

    def _samples_of(self, split: str) -> LabelledArrays:
        self.read.append(split)
        images = np.zeros((self.count, 4, 4, 3), np.uint8)
        return LabelledArrays(images, np.arange(self.count), np.arange(self.count), to_tensor, split + "_{}")

    def train_samples(self) -> LabelledArrays:
        return self._samples_of("train")

    def val_samples(self) -> LabelledArrays:
        return self._samples_of("val")

    def test_samples(self) -> LabelledArrays:
        return self._samples_of("test")

    def predict_samples(self) -> ImageFolder:
        return self.predict_folder(to_tensor)


def on_device(data: Tiny, rank: int, devices: int) -> Tiny:
    data.trainer = SimpleNamespace(world_size=devices, global_rank=rank)
    return data


def test_loaders_hand_out_batches() -> None:
    data = Tiny(batch_size=3)
    batches = list(data.val_dataloader())
    assert [type(batch) for batch in batches] == [LabelledBatch] * 3
    assert [batch.image.shape for batch in batches] == [(3, 3, 4, 4), (3, 3, 4, 4), (1, 3, 4, 4)]
    assert [batch.id for batch in batches] == [["val_0", "val_1", "val_2"], ["val_3", "val_4", "val_5"], ["val_6"]]
    assert [batch.label.tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [len(data.test_dataloader().dataset), data.read] == [7, ["val", "test"]]


@pytest.mark.parametrize(("stage", "read"), [("fit", ["train", "val"]), ("validate", ["val"]), ("test", ["test"])])
def test_a_stage_reads_what_it_needs_once(stage: str, read: list[str]) -> None:
    data = Tiny()
    data.setup(stage)
    data.setup(stage)
    assert data.read == read


@pytest.mark.parametrize(
    ("count", "batch_size", "devices", "sizes"),
    [
        (7, 3, 1, [3, 3]),  # a last batch of one is left out
        (8, 3, 1, [3, 3, 2]),
        (9, 3, 1, [3, 3, 3]),
        (3, 1, 1, [1, 1, 1]),  # asked for
        (1, 3, 1, [1]),  # all there is
    ],
)
def test_training_avoids_a_single_sample(count: int, batch_size: int, devices: int, sizes: list[int]) -> None:
    loader = Tiny(count, batch_size=batch_size).train_dataloader()
    assert [len(batch.id) for batch in loader] == sizes


@pytest.mark.parametrize(("count", "drop_last"), [(13, True), (14, True), (12, False), (15, False)])
def test_training_avoids_a_single_sample_on_each_device(count: int, drop_last: bool) -> None:
    assert on_device(Tiny(count, batch_size=3), 0, 2).train_dataloader().drop_last is drop_last  # 7 on each: 13, 14


def test_training_is_shuffled_by_the_seed() -> None:
    orders = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        orders.append(collate(list(Tiny(20, batch_size=4).train_dataloader())).id)
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


def test_devices_share_out_training() -> None:
    names = []
    for rank in range(2):
        torch.manual_seed(0)
        names.append(collate(list(on_device(Tiny(8, batch_size=3), rank, 2).train_dataloader())).id)
    assert [len(share) for share in names] == [4 - 1, 4 - 1]  # each leaves out a last batch of one
    assert not set(names[0]) & set(names[1])


@pytest.mark.parametrize("split", ["val", "test", "predict"])
def test_devices_share_out_evaluation_without_repeating(split: str, odd_images: ImageFiles) -> None:
    names = {}
    for rank in range(2):
        data = on_device(Tiny(7, predict_dir=str(odd_images[0])), rank, 2)
        loader = getattr(data, f"{split}_dataloader")()
        names[rank] = [loader.dataset[index].id[0] for index in loader.sampler]
    assert abs(len(names[0]) - len(names[1])) == 1
    everything = [loader.dataset[index].id[0] for index in range(len(loader.dataset))]
    assert sorted(names[0] + names[1]) == sorted(everything)


def test_more_devices_than_samples_are_refused() -> None:
    data = on_device(Tiny(2), 0, 3)
    with pytest.raises(DataError, match=r"^devices must be at most 2, the samples of the val split, got 3$"):
        data.val_dataloader()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_evaluation_draws_no_random_numbers(num_workers: int) -> None:
    loader = Tiny(num_workers=num_workers).val_dataloader()
    before = torch.get_rng_state()
    assert len(list(loader)) == 1
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("split", ["train", "val"])
def test_loaders_have_the_workers_asked_for(num_workers: int, split: str) -> None:
    loader = getattr(Tiny(num_workers=num_workers), f"{split}_dataloader")()
    assert (loader.num_workers, loader.persistent_workers) == (num_workers, num_workers > 0)
    assert loader.pin_memory == torch.cuda.is_available()


def test_arguments_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match=r"^batch_size must be at least 1, got 0$"):
        Tiny(batch_size=0)
    with pytest.raises(ValueError, match=r"^num_workers must be at least 0, got -1$"):
        Tiny(num_workers=-1)


def test_predict_reads_a_folder(odd_images: ImageFiles) -> None:
    folder, expected = odd_images
    data = Tiny(batch_size=1, predict_dir=str(folder))
    data.setup("predict")
    batches = list(data.predict_dataloader())
    assert [type(batch) for batch in batches] == [ImageBatch] * len(expected)
    assert [batch.id[0] for batch in batches] == sorted(expected)


def test_predict_without_a_folder_names_the_argument() -> None:
    with pytest.raises(DataError, match=r"^predict_dir is not given.*--data.init_args.predict_dir=FOLDER"):
        Tiny().setup("predict")


def test_predict_from_a_missing_folder_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^predict_dir='.*absent' does not exist"):
        Tiny(predict_dir=str(tmp_path / "absent")).setup("predict")
