from typing import Any

import numpy as np
import pytest
import torch

from datamodules import PatternsDataModule
from datamodules.batches import PatternBatch
from datamodules.patterns import make_ring_pattern


def sample_of(**arguments: Any) -> PatternBatch:
    return next(iter(PatternsDataModule(**arguments).val_dataloader()))


def test_batch_has_the_documented_shapes() -> None:
    batch = sample_of(size=60, num_patterns=5)
    assert isinstance(batch, PatternBatch)
    for maps in (batch.image, batch.target, batch.shifted_image, batch.shifted_target):
        assert (maps.shape, maps.dtype) == ((1, 1, 60, 60), torch.float32)
    assert (batch.shift.tolist(), batch.shift.dtype, batch.id) == ([20], torch.int64, ["patterns_seed0"])


@pytest.mark.parametrize("shift", [0, 1, 20, 40])
def test_shifted_maps_are_the_maps_translated_exactly(shift: int) -> None:
    batch = sample_of(shift=shift)
    kept = 100 - shift
    assert torch.equal(batch.shifted_image[..., shift:, shift:], batch.image[..., :kept, :kept])
    assert torch.equal(batch.shifted_target[..., shift:, shift:], batch.target[..., :kept, :kept])
    assert batch.target.sum() == batch.shifted_target.sum() == 25


def test_noise_comes_in_at_the_upper_left() -> None:
    batch = sample_of(noise=0.1)
    strip = batch.shifted_image[..., :20, :]
    assert 0.09 < strip.std() < 0.11
    assert not torch.equal(strip, batch.image[..., :20, :])
    assert not torch.equal(strip, batch.image[..., -20:, :])
    assert batch.shifted_target[..., :20, :].sum() == batch.shifted_target[..., :20].sum() == 0


@pytest.mark.parametrize("seed", range(5))
def test_patterns_lie_apart_and_wholly_inside_after_the_shift(seed: int) -> None:
    target = sample_of(seed=seed).target[0, 0]
    boxes = torch.nn.functional.conv2d(target[None, None], torch.ones(1, 1, 7, 7), padding=3)
    assert boxes.max() == 1  # no two boxes of 7 × 7 share a pixel
    assert boxes.sum() == 25 * 49  # none is cut off
    assert boxes[..., 80:, :].sum() == boxes[..., 80:].sum() == 0


def test_patterns_of_each_size_occur_equally_often() -> None:
    batch = sample_of(noise=0)
    sizes = []
    for row, column in batch.target[0, 0].nonzero().tolist():
        box = batch.image[0, 0, row - 3 : row + 4, column - 3 : column + 4].numpy()
        fitting = [size for size in (3, 5, 7) if np.array_equal(box, np.pad(make_ring_pattern(size), (7 - size) // 2))]
        assert len(fitting) == 1
        sizes += fitting
    assert sorted(np.bincount(sizes)[[3, 5, 7]]) == [8, 8, 9]
    assert batch.image.count_nonzero() == sum(size * size for size in sizes)  # and nothing else is on the map


def test_rings_alternate() -> None:
    assert make_ring_pattern(5).tolist() == [
        [1, 1, 1, 1, 1],
        [1, -1, -1, -1, 1],
        [1, -1, 1, -1, 1],
        [1, -1, -1, -1, 1],
        [1, 1, 1, 1, 1],
    ]


@pytest.mark.parametrize("seed", range(3))
def test_no_linear_filter_detects_the_patterns(seed: int) -> None:
    batch = sample_of(seed=seed)
    windows = torch.nn.functional.unfold(batch.image, 7, padding=3)[0].T.double()
    inputs = torch.cat([windows, torch.ones(len(windows), 1)], 1)
    target = batch.target.reshape(-1, 1).double()
    residual = inputs @ torch.linalg.lstsq(inputs, target).solution - target
    assert residual.square().sum() > 0.9 * target.square().sum()


def test_seed_decides_the_sample() -> None:
    assert torch.equal(sample_of(seed=1).shifted_image, sample_of(seed=1).shifted_image)
    assert not torch.equal(sample_of(seed=1).image, sample_of(seed=2).image)
    assert not torch.equal(sample_of(seed=1).target, sample_of(seed=2).target)


def test_one_sample_for_all() -> None:
    data = PatternsDataModule(steps_per_epoch=4)
    train = list(data.train_dataloader())
    assert len(train) == 4
    others = [list(loader()) for loader in (data.val_dataloader, data.test_dataloader, data.predict_dataloader)]
    assert [len(batches) for batches in others] == [1, 1, 1]
    for (batch,) in [train[:1], train[3:], *others]:
        assert torch.equal(batch.image, train[0].image)
        assert torch.equal(batch.shifted_target, train[0].shifted_target)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pattern_sizes": (3, 4)}, "pattern_sizes must be odd and at least 3, got 4"),
        ({"pattern_sizes": (1,)}, "pattern_sizes must be odd and at least 3, got 1"),
        ({"pattern_sizes": ()}, r"pattern_sizes must be at least one size, got \(\)"),
        ({"num_patterns": 0}, "num_patterns must be at least 1, got 0"),
        ({"steps_per_epoch": 0}, "steps_per_epoch must be at least 1, got 0"),
        ({"noise": -1.0}, "noise must be at least 0, got -1.0"),
        ({"shift": -1}, "shift must be at least 0, got -1"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"size": 26}, r"size must be at least shift \+ max\(pattern_sizes\) = 27, got 26"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        PatternsDataModule(**arguments)


def test_patterns_that_do_not_fit_are_counted() -> None:
    assert sample_of(size=27, num_patterns=1).target.sum() == 1
    with pytest.raises(
        ValueError, match=r"^num_patterns must be smaller.* \(1 were placed at random.* 7 × 7 pixels.*, got 2$"
    ):
        PatternsDataModule(size=27, num_patterns=2)
