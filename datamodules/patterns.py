"""The toy task of the paper: find small patterns of several scales on a noisy map."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datamodules.base import ImageDataModule
from datamodules.batches import PatternBatch
from datamodules.errors import check_at_least, refuse
from datamodules.samples import SampleSet
from datamodules.types import Map


def make_ring_pattern(size: int) -> Map:
    """Make concentric square rings, each one pixel wide, of +1 and −1 in turn; +1 outside.

    Patterns of different sizes then contradict each other: where one has +1 at its centre the next has −1, and each
    is a part of none. On maps of the default arguments the best possible linear 7 × 7 filter keeps more than nine
    tenths of the squared error of predicting 0 throughout.

    Args:
        size: Height and width in pixels, odd, at least 3.

    Returns:
        float32 ``[size, size]``.

    Raises:
        ValueError: If ``size`` is even or below 3.
    """
    if size < 3 or size % 2 == 0:
        refuse("pattern_sizes", size, "odd and at least 3")
    from_centre = np.abs(np.arange(size) - size // 2)
    ring = np.maximum(from_centre[:, None], from_centre)
    return np.where((size // 2 - ring) % 2 == 0, 1, -1).astype(np.float32)


class _Repeated(SampleSet[PatternBatch]):
    """One sample, handed out ``times`` times."""

    def __init__(self, sample: PatternBatch, times: int) -> None:
        self._sample = sample
        self._times = times

    def __len__(self) -> int:
        return self._times

    def __getitem__(self, index: int) -> PatternBatch:
        return self._sample


class PatternsDataModule(ImageDataModule):
    """One noisy map with patterns of several scales at random places, and the same map translated.

    The map is Gaussian noise of mean 0. Patterns (``make_ring_pattern``) are added to it, the sizes in turn so that
    they occur about equally often, each in a square of its own of the largest size's side. Their centres are the
    target. The translated map is cut from the same, larger canvas: where both overlap it is the map moved down and to
    the right by ``shift`` pixels, exactly; at its top and left, noise comes in. All patterns are wholly in both.

    As in the paper, where a single synthesised sample is trained on and then shown to the network translated, there
    is one sample only: it is trained on, validated, tested and predicted. Nothing here measures generalisation. All
    four loaders hand out ``PatternBatch`` with one map ``[1, 1, size, size]``, the first ``steps_per_epoch`` times an
    epoch.

    Reference: ACDA (ICCV 2021), section 3.3 and figure 6. Shapes of the patterns and the noise are not stated there;
    they are ours.

    Args:
        size: Height and width of the map, in pixels. Default: 100.
        num_patterns: Patterns on the map. Default: 25.
        pattern_sizes: Sides of the patterns in pixels, odd, at least 3. Default: 3, 5 and 7.
        noise: Standard deviation of the noise; patterns are +1 and −1. Default: 0.1.
        shift: Pixels by which the translated map is moved. Default: 20.
        seed: What noise and places depend on. Default: 0.
        steps_per_epoch: Times the sample is trained on in an epoch. Default: 100.

    Raises:
        ValueError: If an argument is out of range, or the patterns cannot be placed; then it says how many could.
    """

    def __init__(
        self,
        *,
        size: int = 100,
        num_patterns: int = 25,
        pattern_sizes: Sequence[int] = (3, 5, 7),
        noise: float = 0.1,
        shift: int = 20,
        seed: int = 0,
        steps_per_epoch: int = 100,
    ) -> None:
        super().__init__(batch_size=1)
        check_at_least(1, num_patterns=num_patterns, steps_per_epoch=steps_per_epoch)
        check_at_least(0, noise=noise, shift=shift, seed=seed)
        if not pattern_sizes:
            refuse("pattern_sizes", pattern_sizes, "at least one size")
        patterns = [make_ring_pattern(side) for side in pattern_sizes]
        room, box = size - shift, max(pattern_sizes)
        if room < box:
            refuse("size", size, f"at least shift + max(pattern_sizes) = {shift + box}")
        random = np.random.RandomState(seed)  # numpy keeps this one's numbers the same in every release
        centres = _place(num_patterns, room, box, random) + shift
        canvas, target = _draw(size + shift, patterns, centres, noise, random)
        upper_left, lower_right = slice(0, size), slice(shift, shift + size)
        self._sample = PatternBatch(
            image=_window(canvas, lower_right),
            target=_window(target, lower_right),
            shifted_image=_window(canvas, upper_left),
            shifted_target=_window(target, upper_left),
            shift=torch.tensor([shift]),
            id=[f"patterns_seed{seed}"],
        )
        self._steps_per_epoch = steps_per_epoch

    def train_samples(self) -> SampleSet[PatternBatch]:
        """Return the sample, ``steps_per_epoch`` times."""
        return _Repeated(self._sample, self._steps_per_epoch)

    def val_samples(self) -> SampleSet[PatternBatch]:
        """Return the sample."""
        return _Repeated(self._sample, 1)

    test_samples = predict_samples = val_samples

    def stored_samples(self, split: str) -> SampleSet[PatternBatch]:
        """Return the sample."""
        return self.val_samples()


def _place(count: int, room: int, box: int, random: np.random.RandomState) -> npt.NDArray[np.int64]:
    """Draw centres (row, column), ``[count, 2]``, of disjoint squares of side ``box`` in a square of side ``room``."""
    free = np.ones((room - box + 1, room - box + 1), bool)  # where the corner of a further square may come
    corners = np.empty((count, 2), np.int64)
    for placed in range(count):
        choices = np.argwhere(free)
        if len(choices) == 0:
            wanted = (
                f"smaller, or size larger, or shift smaller ({placed} were placed at random, apart from each other, in "
                f"{room} × {room} pixels, which is size − shift)"
            )
            refuse("num_patterns", count, wanted)
        row, column = corners[placed] = choices[random.randint(len(choices))]
        free[max(0, row - box + 1) : row + box, max(0, column - box + 1) : column + box] = False
    return corners + box // 2


def _draw(
    side: int, patterns: list[Map], centres: npt.NDArray[np.int64], noise: float, random: np.random.RandomState
) -> tuple[Map, Map]:
    """Draw the patterns, in turn, at the centres of a canvas, and its target, both ``[side, side]``."""
    canvas = (noise * random.standard_normal((side, side))).astype(np.float32)
    target = np.zeros_like(canvas)
    for number, (row, column) in enumerate(centres):
        pattern = patterns[number % len(patterns)]
        top, left = row - len(pattern) // 2, column - len(pattern) // 2
        canvas[top : top + len(pattern), left : left + len(pattern)] += pattern
        target[row, column] = 1
    return canvas, target


def _window(canvas: Map, along: slice) -> Tensor:
    """Cut out the part of a canvas that lies in a range along both sides, as ``[1, 1, H, W]``."""
    return torch.from_numpy(canvas[along, along].copy())[None, None]
