"""Shuffled samples whose order and augmentation follow from seed and epoch, so that training resumes anywhere."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, DistributedSampler

from datamodules.samples import Batch, Batch_co, SampleSet


class _SeededSamples(SampleSet[Batch_co]):
    """Samples that are drawn after torch's generator was seeded for each of them; it is left as it was."""

    def __init__(self, samples: SampleSet[Batch_co]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, at: int | tuple[int, int]) -> Batch_co:
        """Draw a sample, seeded by its index, after the epoch's seed where the sampler gives one."""
        numbers = at if isinstance(at, tuple) else (at,)
        state = torch.get_rng_state()  # torch.random.fork_rng would look for devices, in each worker too
        torch.default_generator.manual_seed(_mix(*numbers))
        try:
            return self._samples[numbers[-1]]
        finally:
            torch.set_rng_state(state)


class _EpochSampler(DistributedSampler[Any]):
    """Gives the epoch's seed with each index. Every pass is the next epoch, unless ``set_epoch`` names another."""

    def __init__(self, samples: SampleSet[Any], devices: int, rank: int) -> None:
        super().__init__(samples, devices, rank, seed=_mix(torch.initial_seed()))
        self.skipped = 0  # at the beginning of the next pass

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch_seed = _mix(self.seed, self.epoch)
        indices = islice(super().__iter__(), self.skipped, None)
        self.set_epoch(self.epoch + 1)
        return ((epoch_seed, index) for index in indices)


class _ResumableLoader(DataLoader[Batch]):
    """Each pass over it is an epoch. Its place there is saved and loaded by Lightning's trainer, in checkpoints."""

    _epoch = 0
    _batches = 0  # of this epoch, that were handed out
    _loaded = False

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # torch promises a class of its own
        # A generator, so that nothing is done before the first batch: the trainer calls set_epoch after this.
        sampler, batches = self.sampler, 0
        if isinstance(sampler, _EpochSampler):  # with overfit_batches the trainer puts another in its place
            if self._loaded and self._epoch == sampler.epoch:
                batches = self._batches
            self._epoch = sampler.epoch
            sampler.skipped = batches * (self.batch_size or 1)
        self._batches, self._loaded = batches, False
        for batch in super().__iter__():
            self._batches += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self._epoch, "batches": self._batches}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._epoch, self._batches, self._loaded = state["epoch"], state["batches"], True
        if isinstance(self.sampler, _EpochSampler):
            self.sampler.set_epoch(self._epoch + (self._batches >= len(self)))


def make_shuffled_loader(
    samples: SampleSet[Batch], generator: torch.Generator, devices: int = 1, rank: int = 0, **loading: Any
) -> DataLoader[Batch]:
    """Make a loader of shuffled samples, whose epochs follow from the seed and their numbers alone.

    The seed is torch's, ``torch.initial_seed()``, when the loader is made; all devices must have the same. Together
    with an epoch's number it decides the order, and with a sample's index too what is random in this sample, whatever
    the number of workers. The state of torch's default generator neither matters nor changes, so that what training
    draws from it does not depend on how samples are loaded.

    Passes are epochs 0, 1, … unless ``sampler.set_epoch`` is called before one, as Lightning's trainer does. The loader
    has ``state_dict()``, the running epoch and the number of its batches that were handed out, and
    ``load_state_dict(state)``: if the next pass is this epoch it goes on after these batches, without loading them.

    Where ``Trainer.overfit_batches`` puts a sampler of indices in the place of this one, samples are the same in each
    pass.

    Args:
        samples: The samples; what is random in them draws from torch's default generator.
        generator: What torch seeds new workers with. Of no consequence here, it only must not be the default one,
            which would then give different numbers after workers were started.
        devices: Number of devices that share out the samples. Each gets equally many: some come twice in an epoch
            where the number of samples is no multiple of it. Default: 1.
        rank: Which of them this loader is for, from 0. Default: 0.
        **loading: Further arguments of ``DataLoader``.

    Returns:
        The loader.
    """
    seeded = _SeededSamples(samples)
    return _ResumableLoader(seeded, sampler=_EpochSampler(seeded, devices, rank), generator=generator, **loading)


def _mix(*numbers: int) -> int:
    """Mix numbers, however alike to others, into a seed; of 32 bits, as torch's generator uses no more of one."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
