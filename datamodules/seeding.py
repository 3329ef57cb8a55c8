"""Shuffling and random numbers in a loader's workers that a resumed run draws again."""

from typing import Any

import torch
from torch.utils.data import DataLoader, RandomSampler, get_worker_info
from torch.utils.data.dataloader import _BaseDataLoaderIter

from datamodules.samples import Batch, Batch_co, SampleSet


class _SeededSamples(SampleSet[Batch_co]):
    """Samples that are drawn, in a worker, after torch was seeded for each of them."""

    def __init__(self, samples: SampleSet[Batch_co]) -> None:
        self._samples = samples
        self._epoch_seed = torch.zeros((), dtype=torch.int64)
        self._epoch_seed.share_memory_()  # type: ignore[no-untyped-call]  # written here, read in the workers

    def begin_epoch(self) -> None:
        self._epoch_seed.random_()

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Batch_co:
        if get_worker_info() is not None:
            torch.default_generator.manual_seed((int(self._epoch_seed) + index) % 2**63)
        return self._samples[index]


class _SeededLoader(DataLoader[Batch]):
    """Each pass over it is an epoch."""

    dataset: _SeededSamples[Batch]

    def __iter__(self) -> _BaseDataLoaderIter:
        self.dataset.begin_epoch()
        return super().__iter__()


def shuffled_loader(samples: SampleSet[Batch], generator: torch.Generator, **loading: Any) -> DataLoader[Batch]:
    """A loader of shuffled samples, whose epochs follow from the state of torch's generator at their beginning.

    Workers that live for several epochs would otherwise carry their generators from one to the next, and a run that
    was stopped and resumed, whose workers are new, would see another order and other augmentations than the
    uninterrupted one. Here the main process draws the order and one number for each epoch; a worker seeds torch for
    each sample with that number and the sample's index. So the number of workers does not matter either, if there
    are any; without workers the samples draw from the main process's generator as it is.

    Args:
        samples: The samples; what is random in them draws from torch's default generator.
        generator: What torch seeds new workers with. Of no consequence here, it only must not be the default one,
            which would then give different numbers after workers were started.
        **loading: Further arguments of ``DataLoader``.

    Returns:
        The loader.
    """
    seeded = _SeededSamples(samples)
    return _SeededLoader(seeded, sampler=RandomSampler(seeded), generator=generator, **loading)
