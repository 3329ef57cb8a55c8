import numpy as np
import pytest
import torch

from datamodules import TexturesDataModule
from datamodules.classification.textures import WAVELENGTHS, make_grain


@pytest.mark.parametrize("wavelength", WAVELENGTHS)
def test_grain_has_one_scale_and_unit_variance(wavelength: float) -> None:
    image = make_grain(64, wavelength, np.random.default_rng(0))
    assert image.mean() == pytest.approx(0, abs=1e-5)
    assert image.var() == pytest.approx(1, rel=1e-4)
    power = np.abs(np.fft.fft2(image)) ** 2
    radius = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64))
    in_band = np.abs(np.log2(np.maximum(radius, 1e-9) * wavelength)) <= 0.2501
    assert power[in_band].sum() / power.sum() > 0.9999


def test_batches() -> None:
    data = TexturesDataModule(batch_size=8, num_train=20, num_val=6, num_test=5)
    data.setup("fit")
    data.setup("test")
    batch = next(iter(data.val_dataloader()))
    assert batch.image.shape == (6, 1, 32, 32)
    assert batch.image.dtype == torch.float32
    assert batch.label.tolist() == [0, 1, 2, 3, 0, 1]
    assert batch.id[0] == "val_00000"
    assert sum(len(b.id) for b in data.test_dataloader()) == 5
    assert len(data.class_names) == 4


def test_images_repeat_and_splits_differ() -> None:
    first, again = (TexturesDataModule(data_seed=3) for _ in range(2))
    assert torch.equal(first.train_samples()[5].image, again.train_samples()[5].image)
    assert not torch.equal(first.train_samples()[5].image, first.val_samples()[5].image)
    assert not torch.equal(first.train_samples()[5].image, TexturesDataModule().train_samples()[5].image)


def test_neither_mean_nor_variance_tells_the_class() -> None:
    samples = TexturesDataModule(noise=0).train_samples()
    variances = [[float(samples[4 * i + k].image.var()) for i in range(40)] for k in range(4)]
    means = [np.mean(v) for v in variances]
    assert max(means) - min(means) < 0.1
    assert np.mean(means) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"), [({"side": 8}, "side"), ({"noise": -1}, "noise"), ({"num_val": 0}, "num_val")]
)
def test_wrong_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TexturesDataModule(**arguments)
