"""Clean images that are degraded when they are asked for."""

import os
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from datamodules.batches import RestorationBatch
from datamodules.restoration.degradations import Degradation
from datamodules.restoration.image_pairs import ImagePair, OpenPair
from datamodules.restoration.samples import RandomPatches, as_tensor
from datamodules.samples import SampleSet, StoredSample
from datamodules.types import AnyDepth, Map

# Pixels around a patch that are degraded with it, so that it has no borders of its own: what filters and blocks of
# JPEG reach, and a multiple of all scales and of these blocks, so that these lie as in a whole image.
_SURROUNDINGS = 24


class DegradedPatches(RandomPatches):
    """Random patches of clean images, degraded another way each time; torch's generator decides.

    A patch is degraded together with its surroundings, as if they were an image: what varies over an image varies over
    them. All else is as with :class:`~datamodules.restoration.samples.RandomPatches`.

    Args:
        degradation: What is done to them.
        pairs: The images, none smaller than a patch; only the clean ones are looked at.
        open_pair: Gives the images of a pair.
        kwargs: Further arguments of ``RandomPatches``.
    """

    def __init__(
        self, degradation: Degradation, pairs: Sequence[ImagePair], open_pair: OpenPair, **kwargs: Any
    ) -> None:
        super().__init__(pairs, open_pair, **kwargs)
        self._degradation = degradation

    def cut(self, images: tuple[AnyDepth, AnyDepth], top: int, left: int) -> tuple[Map, AnyDepth]:
        """Cut a patch out of a clean image, and degrade it."""
        _, clean = images
        above, before = min(top, _SURROUNDINGS), min(left, _SURROUNDINGS)
        bottom, right = top + self.side, left + self.side
        surroundings = clean[top - above : bottom + _SURROUNDINGS, left - before : right + _SURROUNDINGS]
        seed = int(torch.randint(2**63 - 1, ()).item())
        degraded = self._degradation(_as_map(surroundings), np.random.default_rng(seed))
        patch = degraded[above : above + self.side, before : before + self.side]
        return patch, clean[top:bottom, left:right]


class DegradedWholes(SampleSet[RestorationBatch]):
    """Whole clean images, each degraded the same way whenever it is asked for; ids are those of the pairs.

    Args:
        degradation: What is done to them.
        pairs: The images; only the clean ones are looked at.
        open_pair: Gives the images of a pair.
        seed: What is drawn depends on this and on the image's id alone.
    """

    def __init__(self, degradation: Degradation, pairs: Sequence[ImagePair], open_pair: OpenPair, seed: int) -> None:
        self._degradation = degradation
        self._pairs = pairs
        self._open = open_pair
        self._seed = seed

    def __len__(self) -> int:
        """Count the images."""
        return len(self._pairs)

    def __getitem__(self, index: int) -> RestorationBatch:
        """Return an image, degraded and clean, as a batch of one."""
        image, target = (as_tensor(pixels) for pixels in self._read(index))
        return RestorationBatch(image, target, [self._pairs[index].id])

    def stored(self, index: int) -> StoredSample:
        """Return an image as it is stored, and degraded."""
        return StoredSample((str(self._pairs[index].clean),), lambda: self._read(index))

    def _read(self, index: int) -> tuple[Map, AnyDepth]:
        pair = self._pairs[index]
        _, clean = self._open(pair)
        number = int.from_bytes(sha256(os.fsencode(pair.id)).digest()[:8], "little")
        return self._degradation(_as_map(clean), np.random.default_rng((self._seed, number))), clean


def _as_map(pixels: AnyDepth) -> Map:
    image: npt.NDArray[np.float32] = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    return image
