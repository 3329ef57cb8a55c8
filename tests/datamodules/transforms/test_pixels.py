import cv2
import numpy as np
import pytest
import torch

from datamodules.transforms.pixels import EightBit, Normalise, Resize

IMAGE = np.random.RandomState(0).randint(1, 256, (32, 32, 3), np.uint8)


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
