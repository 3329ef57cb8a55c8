import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from datamodules.batches import LabelledBatch
from datamodules.samples import LabelledArrays, join
from datamodules.seeding import shuffled_loader
from datamodules.transforms import Normalise, pad_crop_flip


@pytest.fixture(scope="module")
def samples() -> LabelledArrays:
    """Twelve times one image, so that only augmentation tells them apart."""
    images = np.random.RandomState(0).randint(0, 256, (1, 32, 32, 3), np.uint8).repeat(12, 0)
    transform = Normalise([0, 0, 0], [1, 1, 1], after=pad_crop_flip(32, 4))
    return LabelledArrays(images, np.zeros(12, np.int64), np.arange(12), transform, "{:02d}")


def loader_of(samples: LabelledArrays, num_workers: int) -> DataLoader[LabelledBatch]:
    return shuffled_loader(
        samples,
        torch.Generator(),
        batch_size=4,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        collate_fn=join,
    )


def epoch(loader: DataLoader[LabelledBatch]) -> tuple[list[str], dict[str, bytes], float]:
    """The epoch's order, its images by their ids, and what the main process draws after it."""
    batch = join(list(loader))
    images = {name: image.numpy().tobytes() for name, image in zip(batch.id, batch.image, strict=True)}
    return batch.id, images, torch.rand(1).item()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_seed_decides_and_epochs_differ(samples: LabelledArrays, num_workers: int) -> None:
    runs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        loader = loader_of(samples, num_workers)
        runs.append([epoch(loader), epoch(loader)])
    assert runs[0] == runs[1]
    order, images, _ = runs[0][0]
    assert len(set(images.values())) > 9  # augmented independently
    for other_order, other_images, _ in (runs[0][1], runs[2][0]):
        assert sorted(other_order) == sorted(order)
        assert other_order != order
        assert sum(other_images[name] == images[name] for name in order) < 3


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resumed_run_draws_what_the_uninterrupted_one_did(samples: LabelledArrays, num_workers: int) -> None:
    torch.manual_seed(3)
    loader = loader_of(samples, num_workers)
    epoch(loader)
    next(iter(loader))  # an epoch that ends early leaves work in the workers
    state = torch.get_rng_state()
    uninterrupted = epoch(loader)
    torch.set_rng_state(state)
    assert epoch(loader_of(samples, num_workers)) == uninterrupted


def test_number_of_workers_does_not_matter(samples: LabelledArrays) -> None:
    runs = []
    for num_workers in (1, 2):
        torch.manual_seed(3)
        runs.append(epoch(loader_of(samples, num_workers)))
    assert runs[0] == runs[1]
