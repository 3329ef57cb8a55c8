"""Generated textures whose class is their local scale: what is seen depends on where one looks."""

from typing import Any

import numpy as np
import torch

from datamodules.base import ImageDataModule
from datamodules.batches import LabelledBatch
from datamodules.errors import check_at_least
from datamodules.samples import ImageFolder, SampleSet
from datamodules.transforms.pixels import Normalise, Resize
from datamodules.types import Map

_SPLITS = ("train", "val", "test")
# Wavelengths in pixels of the grain, class by class; each band is half an octave wide.
WAVELENGTHS = (2.5, 3.5, 5.0, 7.0)
_HALF_BAND = 2**0.25


def make_grain(side: int, wavelength: float, generator: np.random.Generator) -> Map:
    """Draw noise of one scale and no direction: white noise of which a ring of spatial frequencies is kept.

    Args:
        side: Height and width in pixels.
        wavelength: In pixels; half an octave about it is kept.
        generator: Draws the noise.

    Returns:
        float32 ``[side, side]`` of mean 0 and variance 1.
    """
    frequency = np.fft.fftfreq(side)
    radius = np.hypot(frequency[:, None], frequency)
    ring = (radius * wavelength >= 1 / _HALF_BAND) & (radius * wavelength <= _HALF_BAND)
    noise = np.fft.ifft2(np.fft.fft2(generator.standard_normal((side, side))) * ring).real
    image: Map = ((noise - noise.mean()) / noise.std()).astype(np.float32)
    return image


class _Textures(SampleSet[LabelledBatch]):
    """Images of one split, made when they are asked for."""

    def __init__(self, split: str, count: int, side: int, noise: float, seed: int) -> None:
        self._split = split
        self._count = count
        self._side = side
        self._noise = noise
        self._seed = seed

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> LabelledBatch:
        if not 0 <= index < self._count:
            raise IndexError(index)
        generator = np.random.default_rng((self._seed, _SPLITS.index(self._split), index))
        label = index % len(WAVELENGTHS)
        around = generator.choice([k for k in range(len(WAVELENGTHS)) if k != label])
        side = self._side
        radius = generator.uniform(0.2, 0.3) * side
        centre = generator.uniform(radius, side - radius, size=2)
        rows, columns = np.mgrid[:side, :side]
        inside = np.hypot(rows - centre[0], columns - centre[1]) <= radius
        image = np.where(
            inside, make_grain(side, WAVELENGTHS[label], generator), make_grain(side, WAVELENGTHS[around], generator)
        )
        image = image + self._noise * generator.standard_normal((side, side))
        name = f"{self._split}_{index:05d}"
        pixels = torch.from_numpy(image.astype(np.float32))[None, None]
        return LabelledBatch(pixels, torch.tensor([label]), [name])


class TexturesDataModule(ImageDataModule):
    """Images of noise in which a disc is of another scale than its surroundings; the class is the disc's scale.

    Grain has no direction and the same contrast at every scale, disc and surroundings have scales from the same four,
    and each surrounds each other as often: neither mean, variance nor the spectrum of the whole image tells the class,
    but for the disc's smaller area. Nothing is downloaded; image i of a split is the same in every run.

    Batches are ``LabelledBatch`` with images ``[N, 1, side, side]`` of about unit variance; ids are ``train_00000`` and
    so on. Prediction reads the images below ``predict_dir`` as grey, resizes them to ``side`` and normalises grey 0.5
    ± 0.25 to 0 ± 1. Batches are ``ImageBatch``.

    Args:
        side: Height and width of an image in pixels. Default: 32.
        noise: Standard deviation of white noise on top. Default: 0.5.
        num_train: Images to train on. Default: 2000.
        num_val: Images for validation. Default: 400.
        num_test: Images for test. Default: 1000.
        data_seed: What all images depend on. Default: 0.
        **kwargs: Those of :class:`~datamodules.base.ImageDataModule`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        *,
        side: int = 32,
        noise: float = 0.5,
        num_train: int = 2000,
        num_val: int = 400,
        num_test: int = 1000,
        data_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_at_least(16, side=side)
        check_at_least(1, num_train=num_train, num_val=num_val, num_test=num_test)
        check_at_least(0, data_seed=data_seed, noise=noise)
        self.side = side
        self._noise = noise
        self._counts = {"train": num_train, "val": num_val, "test": num_test}
        self._data_seed = data_seed

    @property
    def class_names(self) -> list[str]:
        """Wavelengths of the disc in pixels, by class."""
        return [f"{wavelength} px" for wavelength in WAVELENGTHS]

    def train_samples(self) -> SampleSet[LabelledBatch]:
        """Return images to train on."""
        return self._part("train")

    def val_samples(self) -> SampleSet[LabelledBatch]:
        """Return images for validation."""
        return self._part("val")

    def test_samples(self) -> SampleSet[LabelledBatch]:
        """Return images for test."""
        return self._part("test")

    def predict_samples(self) -> ImageFolder:
        """Return images below ``predict_dir``, as grey and of the side."""
        return self.predict_folder(Normalise((0.5,), (0.25,), after=Resize(self.side, self.side)), grey=True)

    def _part(self, split: str) -> _Textures:
        return _Textures(split, self._counts[split], self.side, self._noise, self._data_seed)
