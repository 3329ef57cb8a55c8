import math

import pytest
import torch

from lit_modules.metrics.sample_mean import SampleMean


def test_each_sample_counts_once_whoever_had_it() -> None:
    """Seven values in batches of three, three and one; two processes have four and three of them."""
    values = [2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0]
    shares = [SampleMean(), SampleMean()]
    for share, batches in zip(shares, ([values[:3], values[3:4]], [values[4:]]), strict=True):
        for batch in batches:
            share.update(torch.tensor(batch).mean(), len(batch))
    both = SampleMean()
    both.total = sum(share.total for share in shares)
    both.samples = sum(share.samples for share in shares)
    assert both.compute().item() == pytest.approx(58 / 7, rel=1e-6)


def test_nan_is_not_hidden() -> None:
    mean = SampleMean()
    mean.update(torch.tensor(1.0), 2)
    mean.update(torch.tensor(math.nan), 1)
    assert mean.compute().isnan()
