from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, SequentialSampler

from datamodules.batches import LabelledBatch
from datamodules.samples import LabelledArrays, SampleSet, collate
from datamodules.seeding import make_shuffled_loader
from datamodules.transforms.augmentation import pad_crop_flip
from datamodules.transforms.pixels import Normalise

Contents = list[tuple[list[str], bytes]]


def copies(count: int) -> LabelledArrays:
    """So many times one image, so that only augmentation tells them apart."""
    images = np.random.RandomState(0).randint(0, 256, (1, 32, 32, 3), np.uint8).repeat(count, 0)
    transform = Normalise([0, 0, 0], [1, 1, 1], after=pad_crop_flip(32, 4))
    return LabelledArrays(images, np.zeros(count, np.int64), np.arange(count), transform, "{:02d}")


@pytest.fixture(scope="module")
def samples() -> LabelledArrays:
    return copies(12)


def loader_of(samples: SampleSet[LabelledBatch], num_workers: int = 0, seed: int = 3, **sharing: int) -> Any:
    """Batches of four; workers live for several epochs."""
    torch.manual_seed(seed)
    return make_shuffled_loader(
        samples,
        torch.Generator(),
        **sharing,
        batch_size=4,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        collate_fn=collate,
    )


def contents(batches: list[LabelledBatch]) -> Contents:
    """Ids and pixels of each batch."""
    return [(batch.id, batch.image.numpy().tobytes()) for batch in batches]


def images(batches: list[LabelledBatch]) -> dict[str, bytes]:
    """Pixels of each sample by its id, in the order they came in."""
    batch = collate(batches)
    return {name: image.numpy().tobytes() for name, image in zip(batch.id, batch.image, strict=True)}


@pytest.fixture(scope="module")
def epochs(samples: LabelledArrays) -> list[Contents]:
    """Three epochs as they are without workers and without a break."""
    loader = loader_of(samples)
    return [contents(list(loader)) for _ in range(3)]


def test_seeds_and_epochs_differ_in_order_and_augmentation(samples: LabelledArrays) -> None:
    loader = loader_of(samples)
    first = images(list(loader))
    assert len(set(first.values())) > 9  # augmented independently
    for other in (images(list(loader)), images(list(loader_of(samples, seed=4)))):
        assert sorted(other) == sorted(first)
        assert list(other) != list(first)
        assert sum(other[name] == first[name] for name in first) < 3


def test_an_epoch_of_one_seed_is_not_another_epoch_of_the_next(samples: LabelledArrays) -> None:
    loader = loader_of(samples, seed=3)
    loader.sampler.set_epoch(1)
    assert list(images(list(loader))) != list(images(list(loader_of(samples, seed=4))))


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_neither_workers_nor_the_state_of_the_generator_matter(
    samples: LabelledArrays, epochs: list[Contents], num_workers: int
) -> None:
    loader = loader_of(samples, num_workers)
    for epoch in epochs:
        torch.rand(1)
        before = torch.get_rng_state()
        assert contents(list(loader)) == epoch
        assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_epochs_can_be_named(samples: LabelledArrays, epochs: list[Contents], num_workers: int) -> None:
    loader = loader_of(samples, num_workers)
    for epoch in (2, 0):
        iterator = iter(loader)
        loader.sampler.set_epoch(epoch)  # after iter, as Lightning's trainer does
        assert contents(list(iterator)) == epochs[epoch]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_state_counts_what_was_handed_out(
    samples: LabelledArrays, epochs: list[Contents], num_workers: int
) -> None:
    loader = loader_of(samples, num_workers)
    states = [loader.state_dict(), *(loader.state_dict() for _ in loader)]
    next(iter(loader))  # an epoch that ends early leaves work in the workers
    states.append(loader.state_dict())
    assert contents(list(loader)) == epochs[2]
    assert [(state["epoch"], state["batches"]) for state in states] == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1)]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("batches", [0, 1, 2, 3])
def test_a_loaded_state_goes_on_where_it_was_saved(
    samples: LabelledArrays, epochs: list[Contents], num_workers: int, batches: int
) -> None:
    loader = loader_of(samples, num_workers)
    for _ in loader:
        pass
    running = iter(loader)
    for _ in range(batches):
        next(running)
    state = loader.state_dict()
    resumed = loader_of(samples, num_workers)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert len(resumed) == 3
    following = [epoch for epoch in (epochs[1][batches:], epochs[2]) if epoch]
    assert [contents(list(resumed)) for _ in following] == following
    assert resumed.state_dict() == {"epoch": 2, "batches": 3}


@pytest.mark.parametrize("num_workers", [0, 1])
def test_no_batch_is_left_out_in_another_epoch_than_the_saved_one(
    samples: LabelledArrays, epochs: list[Contents], num_workers: int
) -> None:
    """As when the trainer ends its epochs after two of the three batches."""
    loader = loader_of(samples, num_workers)
    loader.load_state_dict({"epoch": 0, "batches": 2})
    for epoch in (1, 1, 0):  # a state is used once
        loader.sampler.set_epoch(epoch)
        assert contents(list(loader)) == epochs[epoch]


def test_what_was_handed_out_before_is_not_drawn_again(samples: LabelledArrays) -> None:
    drawn: list[int] = []

    class Noting(SampleSet[LabelledBatch]):
        def __len__(self) -> int:
            return len(samples)

        def __getitem__(self, index: int) -> LabelledBatch:
            drawn.append(index)
            return samples[index]

    loader = loader_of(Noting())
    loader.load_state_dict({"epoch": 0, "batches": 2})
    (batch,) = loader
    assert [f"{index:02d}" for index in drawn] == batch.id


@pytest.mark.parametrize(("count", "twice"), [(12, 0), (11, 1)])
def test_devices_share_out_an_epoch(count: int, twice: int) -> None:
    samples = copies(count)
    shares = [images(list(loader_of(samples, devices=2, rank=rank))) for rank in (0, 1)]
    assert [len(share) for share in shares] == [6, 6]
    assert len(shares[0].keys() & shares[1].keys()) == twice
    assert shares[0] | shares[1] == images(list(loader_of(samples)))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_plain_indices_give_the_same_images_again_and_again(samples: LabelledArrays, num_workers: int) -> None:
    seeded = loader_of(samples).dataset
    loader = DataLoader(seeded, 4, sampler=SequentialSampler(seeded), num_workers=num_workers, collate_fn=collate)
    first = images(list(loader))
    assert list(first) == [f"{index:02d}" for index in range(12)]
    assert len(set(first.values())) > 9
    assert images(list(loader)) == first
