import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from datamodules.transforms.crops import RandomResizedCrop, ResizedCentreCrop, resize_bilinear
from datamodules.types import Pixels


def photograph(height: int, width: int) -> Pixels:
    """Smooth structure with noise on it."""
    random = np.random.RandomState(height)
    coarse = random.randint(0, 256, (4, 5, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + random.randint(-20, 21, smooth.shape), 0, 255).astype(np.uint8)


def difference(first: Pixels, second: Pixels) -> int:
    assert first.shape == second.shape
    return int(np.abs(first.astype(int) - second).max())


@pytest.mark.parametrize("size", [(60, 45), (20, 31), (300, 200)])
def test_resizing_is_that_of_pillow(size: tuple[int, int]) -> None:
    image = photograph(100, 150)
    for part in (image, image[10:90, 20:143], image[:, ::2].copy()):
        resized = resize_bilinear(part, *size)
        assert (resized.dtype, resized.shape) == (np.uint8, (*size, 3))
        reference = Image.fromarray(part).resize(size[::-1], Image.Resampling.BILINEAR)
        assert difference(resized, np.asarray(reference)) <= 1


def test_one_channel_is_resized_too() -> None:
    image = photograph(40, 30)
    assert difference(resize_bilinear(image[..., :1], 17, 19), resize_bilinear(image, 17, 19)[..., :1]) <= 1


@pytest.mark.parametrize("shape", [(375, 500), (500, 375), (333, 500), (256, 256), (257, 300), (200, 90), (901, 733)])
def test_centre_crop_is_that_of_torchvision(shape: tuple[int, int]) -> None:
    image = photograph(*shape)
    cropped = ResizedCentreCrop(256, 224)(image)
    reference = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224)])
    assert difference(cropped, reference(torch.from_numpy(image).permute(2, 0, 1)).permute(1, 2, 0).numpy()) == 0
    assert difference(cropped, np.asarray(reference(Image.fromarray(image)))) <= 1


def test_centre_crop_of_all_that_is_left() -> None:
    assert ResizedCentreCrop(32, 32)(photograph(50, 80)).shape == (32, 32, 3)
    assert ResizedCentreCrop(32, 31)(photograph(1, 1)).shape == (31, 31, 3)


def test_random_parts_are_drawn_as_documented() -> None:
    torch.manual_seed(0)
    crop = RandomResizedCrop(224)
    parts = np.array([crop.draw_part(375, 500) for _ in range(4000)])
    top, left, height, width = parts.T
    assert top.min() == 0 and left.min() == 0
    assert (top + height).max() == 375 and (left + width).max() == 500
    share, ratio = height * width / (375 * 500), width / height
    assert 0.075 < share.min() < 0.1 and 0.9 < share.max() <= 1
    assert 0.74 < ratio.min() < 0.77 and 1.31 < ratio.max() < 1.35
    small = share < 0.3  # large ones of some ratios do not fit
    assert abs(np.log(ratio[small]).mean()) < 0.03
    np.testing.assert_allclose(np.quantile(share[small], [0.25, 0.5, 0.75]), [0.135, 0.19, 0.245], atol=0.02)
    torchvision = np.array(
        [tuple(_of_torchvision(parameters)) for parameters in _torchvision_parameters((375, 500), 4000)]
    )
    np.testing.assert_allclose(parts.mean(0), torchvision.mean(0), rtol=0.07)
    np.testing.assert_allclose(parts.std(0), torchvision.std(0), rtol=0.07)


def _torchvision_parameters(shape: tuple[int, int], count: int) -> list[dict[str, int]]:
    transform = v2.RandomResizedCrop(224)
    return [transform.make_params([torch.empty(3, *shape, dtype=torch.uint8)]) for _ in range(count)]


def _of_torchvision(parameters: dict[str, int]) -> list[int]:
    return [parameters[name] for name in ("top", "left", "height", "width")]


@pytest.mark.parametrize("shape", [(10, 400), (400, 10), (1, 1), (2, 300)])
def test_extreme_shapes_fall_back_to_the_centre(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    crop = RandomResizedCrop(8, scale=(1, 1))  # cannot be had in range
    top, left, height, width = crop.draw_part(*shape)
    assert abs(2 * top + height - shape[0]) <= 1 and abs(2 * left + width - shape[1]) <= 1
    assert (height, width) == {(10, 400): (10, 13), (400, 10): (13, 10), (1, 1): (1, 1), (2, 300): (2, 3)}[shape]
    assert crop(photograph(*shape)).shape == (8, 8, 3)


def test_random_crop_resizes_the_part_that_was_drawn() -> None:
    image, crop = photograph(60, 80), RandomResizedCrop(24)
    torch.manual_seed(5)
    top, left, height, width = crop.draw_part(60, 80)
    torch.manual_seed(5)
    part = Image.fromarray(image[top : top + height, left : left + width])
    assert difference(pickle.loads(pickle.dumps(crop))(image), np.asarray(part.resize((24, 24), 2))) <= 1


def test_arguments_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match=r"^resize_size must be at least crop_size = 24, got 20$"):
        ResizedCentreCrop(20, 24)
    with pytest.raises(ValueError, match=r"^crop_size must be .*, got 0$"):
        ResizedCentreCrop(20, 0)
    with pytest.raises(ValueError, match=r"^side must be .*, got 0$"):
        RandomResizedCrop(0)
    with pytest.raises(ValueError, match=r"^scale must be two ascending numbers above 0 and up to 1, got \(0, 1\)$"):
        RandomResizedCrop(4, scale=(0, 1))
    with pytest.raises(ValueError, match=r"^ratio must be two ascending numbers above 0, got \(2, 1\)$"):
        RandomResizedCrop(4, ratio=(2, 1))
