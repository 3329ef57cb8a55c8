"""Batches on their way from a worker to a device."""

import pickle
from collections.abc import Iterator
from typing import NoReturn

import pytest
import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data._utils.pin_memory import pin_memory

from datamodules.batches import DegradedBatch
from datamodules.samples import SampleSet, collate

PROFILES = [b"", b"\x00\xff" * 3000, b"a profile", b""]


class Whole(bytes):
    """Bytes that nobody looks at one by one, which takes seconds for a profile of a printer."""

    def __iter__(self) -> NoReturn:
        raise AssertionError("one by one")


class Degraded(SampleSet[DegradedBatch]):
    """Images with profiles or without any."""

    def __init__(self, with_profiles: bool) -> None:
        self.with_profiles = with_profiles

    def __len__(self) -> int:
        return len(PROFILES)

    def __getitem__(self, index: int) -> DegradedBatch:
        fields = torch.full((1, 3, 2, 2), index / 8), torch.tensor([8]), torch.tensor([index == 1]), [f"{index}"]
        return DegradedBatch(*fields, [PROFILES[index]]) if self.with_profiles else DegradedBatch(*fields)


def loaded(with_profiles: bool, workers: int) -> Iterator[DegradedBatch]:
    return iter(DataLoader(Degraded(with_profiles), batch_size=3, num_workers=workers, collate_fn=collate))


def test_profiles_are_last_and_may_be_left_out() -> None:
    image, bits, grey = torch.zeros(1, 3, 2, 2), torch.tensor([8]), torch.tensor([False])
    batch = DegradedBatch(image, bits, grey, ["a.png"])
    assert batch.id == ["a.png"]
    assert len(batch.profile) == 0
    assert batch[:4] == (image, bits, grey, ["a.png"])
    assert DegradedBatch._fields[-1] == "profile"


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("with_profiles", [True, False])
def test_profiles_come_out_of_workers_with_their_images(with_profiles: bool, workers: int) -> None:
    first, second = loaded(with_profiles, workers)
    assert [first.id, second.id] == [["0", "1", "2"], ["3"]]
    expected = [PROFILES[:3], PROFILES[3:]] if with_profiles else [[], []]
    assert [list(first.profile), list(second.profile)] == expected
    assert first.grey.tolist() == [False, True, False]


def test_moving_and_pinning_leave_profiles_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = Whole(PROFILES[1])
    batch = DegradedBatch(torch.ones(1, 3, 2, 2), torch.tensor([16]), torch.tensor([True]), ["a"], [profile])
    moved = move_data_to_device(batch, torch.device("meta"))
    assert isinstance(moved, DegradedBatch)
    assert {tensor.device.type for tensor in moved[:3]} == {"meta"}
    assert (moved.id, moved.profile) == (["a"], [profile])
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor, device=None: tensor + 0)  # needs a GPU
    pinned = pin_memory(batch)
    assert isinstance(pinned, DegradedBatch)
    assert pinned.profile == [profile]
    assert pinned.image is not batch.image and torch.equal(pinned.image, batch.image)
    assert list(pickle.loads(pickle.dumps(batch._replace(profile=PROFILES))).profile) == PROFILES
