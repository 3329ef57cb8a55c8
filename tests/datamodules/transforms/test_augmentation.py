import pickle

import albumentations as A
import numpy as np
import torch

from datamodules.transforms.augmentation import Augmentation, RandomFlip, TrivialAugment, pad_crop_flip
from datamodules.types import Pixels

IMAGE = np.random.RandomState(0).randint(1, 256, (32, 32, 3), np.uint8)


def augmented(augmentation: Augmentation, seed: int, calls: int = 8) -> Pixels:
    torch.manual_seed(seed)
    return np.stack([augmentation(IMAGE) for _ in range(calls)])


def test_torch_seed_decides_the_augmentation() -> None:
    random_noise = A.GaussNoise(p=0.5)  # draws from numpy's generator, the others from Python's
    first, second = (Augmentation([A.RandomCrop(24, 24), A.HorizontalFlip(), random_noise]) for _ in range(2))
    assert np.array_equal(augmented(first, 1), augmented(second, 1))
    assert np.array_equal(augmented(first, 1), augmented(pickle.loads(pickle.dumps(first)), 1))
    assert not np.array_equal(augmented(first, 1), augmented(first, 2))


def test_calls_differ() -> None:
    assert len(np.unique(augmented(pad_crop_flip(32, 4), 0), axis=0)) > 4


def test_transforms_of_one_augmentation_are_independent() -> None:
    flips = Augmentation([A.HorizontalFlip(), A.OneOf([A.VerticalFlip()], p=0.5)])
    kinds, counts = np.unique(augmented(flips, 0, calls=200), axis=0, return_counts=True)
    assert len(kinds) == 4
    assert counts.min() > 30


def test_numpy_transforms_draw_evenly() -> None:
    gauss = Augmentation([A.GaussNoise(std_range=(0.1, 0.1), p=1)])
    noise = augmented(gauss, 0, calls=200)[:, 5, 5, 0]  # OpenCV's first number hardly depends on its seed
    assert len(np.unique(noise)) > 60


def test_pad_crop_flip_moves_by_at_most_the_padding() -> None:
    canvas = np.pad(IMAGE, ((4, 4), (4, 4), (0, 0)))
    windows = {canvas[y : y + 32, x : x + 32].tobytes() for y in range(9) for x in range(9)}
    windows |= {canvas[y : y + 32, x : x + 32][:, ::-1].tobytes() for y in range(9) for x in range(9)}
    seen = {image.tobytes() for image in augmented(pad_crop_flip(32, 4), 0, calls=400)}
    assert seen <= windows
    assert len(seen) > 140  # of 162


def test_one_channel_stays() -> None:
    assert pad_crop_flip(32, 4)(IMAGE[..., :1]).shape == (32, 32, 1)


def test_flips_are_drawn_evenly_from_torch() -> None:
    torch.manual_seed(0)
    flip, draws = RandomFlip(), []
    for _ in range(200):
        image = flip(IMAGE)
        assert np.array_equal(image, IMAGE) or np.array_equal(image, IMAGE[:, ::-1])
        draws.append(np.array_equal(image, IMAGE))
    assert 80 < sum(draws) < 120
    torch.manual_seed(0)
    assert draws[:20] == [np.array_equal(flip(IMAGE), IMAGE) for _ in range(20)]


def test_trivial_augment_makes_all_kinds_of_changes_by_the_torch_seed() -> None:
    augment = pickle.loads(pickle.dumps(TrivialAugment()))
    torch.manual_seed(0)
    images = [augment(IMAGE) for _ in range(100)]
    assert {(image.dtype, image.shape) for image in images} == {(np.dtype(np.uint8), (32, 32, 3))}
    assert len({image.tobytes() for image in images}) > 60
    assert any(np.array_equal(image, IMAGE) for image in images)
    torch.manual_seed(0)
    assert all(np.array_equal(augment(IMAGE), image) for image in images)
