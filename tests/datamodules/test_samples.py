import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from datamodules.batches import CrowdBatch, ImageBatch
from datamodules.samples import LabelledArrays, SampleSet, batch_of_one, collate
from datamodules.transforms.pixels import Normalise


def test_collate_keeps_the_order_of_tensors_and_lists() -> None:
    batch = collate([ImageBatch(torch.full((count, 1, 2, 2), count), [f"of_{count}"] * count) for count in (1, 2)])
    assert isinstance(batch, ImageBatch)
    assert batch.image[:, 0, 0, 0].tolist() == [1, 2, 2]
    assert batch.id == ["of_1", "of_2", "of_2"]


class TwoPixels(SampleSet[CrowdBatch]):
    """A batch with tensors of both kinds: joined, and in a list; one of these is empty."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> CrowdBatch:
        points = [torch.full((index, 2), float(index))]
        image, density, spread = torch.ones(1, 3, 1, 2), torch.ones(1, 1, 1, 2), torch.ones(1, 3)
        return CrowdBatch(image, density, torch.tensor([index]), points, [f"{index}"], spread, spread)


def collate_and_note(batches: list[CrowdBatch]) -> tuple[CrowdBatch, list[bool]]:
    batch = collate(batches)
    return batch, [tensor.is_shared() for tensor in (batch.image, batch.density, batch.num_heads, *batch.points)]


@pytest.mark.parametrize("workers", [0, 1])
def test_collate_shares_memory_in_workers_alone(workers: int) -> None:
    """Where there is none left it fails there, and is told; not in the thread that sends, which loses the batch."""
    loader = DataLoader(TwoPixels(), batch_size=2, num_workers=workers, collate_fn=collate_and_note)
    numbers = []
    for batch, shared in loader:
        assert shared == [workers > 0] * 5
        numbers += [(name, len(points)) for name, points in zip(batch.id, batch.points, strict=True)]
    assert numbers == [("0", 0), ("1", 1), ("2", 2), ("3", 3)]


@pytest.mark.parametrize("channels_last", [False, True])
def test_collate_keeps_the_layout_of_images(channels_last: bool) -> None:
    image = torch.rand(3, 5, 4) if not channels_last else torch.rand(5, 4, 3).permute(2, 0, 1)
    batch = collate([ImageBatch(batch_of_one(image), [name]) for name in "ab"])
    assert torch.equal(batch.image, image.expand(2, 3, 5, 4))
    assert batch.image.is_contiguous(memory_format=torch.channels_last) == channels_last
    assert batch.image.is_contiguous() != channels_last


def test_collate_refuses_images_of_different_sizes() -> None:
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        collate([ImageBatch(torch.zeros(1, 1, side, 2), ["name"]) for side in (2, 3)])


def test_labelled_arrays_hand_out_their_part() -> None:
    images = np.arange(5, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
    indices = np.array([4, 1])
    part = LabelledArrays(images, np.arange(5) * 10, indices, Normalise([0] * 3, [1] * 3, maximum=1), "image_{:02d}")
    assert len(part) == 2
    first = part[0]
    assert (first.image.shape, first.image.unique().tolist()) == ((1, 3, 1, 1), [4])
    assert (first.label.tolist(), first.id) == ([40], ["image_04"])
    assert part[1].id == ["image_01"]
