import pickle

import albumentations as A
import cv2
import numpy as np
import pytest
import torch

from datamodules.transforms.augmentation import Augmentation, RandomFlip, TrivialAugment, pad_crop_flip
from datamodules.transforms.pixels import EightBit, Normalise, Resize
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


def test_opencv_runs_in_one_thread() -> None:
    assert cv2.getNumThreads() == 1


@pytest.mark.parametrize("channels", [1, 3])
def test_resize_averages_areas(channels: int) -> None:
    image = IMAGE[..., :channels]
    resized = Resize(8, 16)(image)
    assert (resized.dtype, resized.shape) == (np.uint8, (8, 16, channels))
    np.testing.assert_allclose(resized, image.reshape(8, 4, 16, 2, channels).mean((1, 3)), atol=0.5)


def test_resize_enlarges() -> None:
    assert Resize(5, 7)(IMAGE[:1, :1]).tolist() == np.broadcast_to(IMAGE[0, 0], (5, 7, 3)).tolist()


def test_resize_refuses_no_pixels() -> None:
    with pytest.raises(ValueError, match=r"^width must be at least 1, got 0$"):
        Resize(4, 0)


def test_normalise() -> None:
    mean, std = [0.5, 0.25, 0.0], [0.5, 0.25, 2.0]
    tensor = Normalise(mean, std)(IMAGE)
    assert (tensor.dtype, tensor.shape, tensor.is_contiguous()) == (torch.float32, (3, 32, 32), True)
    np.testing.assert_allclose(tensor.permute(1, 2, 0), (IMAGE / 255 - mean) / std, atol=1e-6)


def test_normalise_with_another_maximum_after_a_step() -> None:
    tensor = Normalise([0.5], [0.5], maximum=16, after=lambda image: image[:, ::-1])(np.array([[[0], [16]]], np.uint8))
    assert tensor.tolist() == [[[1, -1]]]


def test_normalise_refuses() -> None:
    with pytest.raises(
        ValueError, match=r"^std must be a positive number for each of the 2 channels of mean, got \[1\]$"
    ):
        Normalise([0, 0], [1])
    with pytest.raises(ValueError, match=r"^std must be .*, got \[0\]$"):
        Normalise([0], [0])
    with pytest.raises(ValueError, match=r"^maximum must be above 0, got 0$"):
        Normalise([0], [1], maximum=0)
    with pytest.raises(ValueError, match=r"^channels of the image must be 1, as mean has, got 3$"):
        Normalise([0], [1])(IMAGE)


def test_normalised_batch_is_that_of_normalised_images() -> None:
    normalise = Normalise([0.5, 0.25, 0.0], [0.5, 0.25, 2.0])
    images = torch.stack([EightBit()(IMAGE), EightBit()(255 - IMAGE)]).contiguous(memory_format=torch.channels_last)
    batch = normalise.batch(images)
    assert (batch.dtype, batch.stride()) == (torch.float32, images.stride())
    torch.testing.assert_close(batch, torch.stack([normalise(IMAGE), normalise(255 - IMAGE)]), atol=1e-6, rtol=0)


def test_eight_bit_keeps_the_pixels_after_its_steps() -> None:
    tensor = EightBit(lambda image: image[:, :7], lambda image: image[:5])(IMAGE)
    assert (tensor.dtype, tensor.shape, tensor.stride()) == (torch.uint8, (3, 5, 7), (1, 21, 3))
    assert np.array_equal(tensor.permute(1, 2, 0).numpy(), IMAGE[:5, :7])


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
