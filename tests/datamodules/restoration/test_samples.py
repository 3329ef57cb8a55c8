from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from datamodules.restoration.image_pairs import ImagePair
from datamodules.restoration.samples import (
    DegradedImages,
    RandomPatches,
    WholeImages,
    as_tensor,
    enlarge,
    turn_and_mirror,
)
from datamodules.samples import ImageFolder
from datamodules.transforms.pixels import EightBit
from tests.support.image_files import ImageFiles
from tests.support.restoration_files import draw_photograph

HEIGHT, WIDTH, SIDE = 9, 12, 4

# The symmetries of the square as maps of coordinates, row and column of a patch's pixel to those in the original.
LAST = SIDE - 1
SYMMETRIES = {
    (lambda r, c: (r, c)),
    (lambda r, c: (r, LAST - c)),
    (lambda r, c: (LAST - r, c)),
    (lambda r, c: (LAST - r, LAST - c)),
    (lambda r, c: (c, r)),
    (lambda r, c: (c, LAST - r)),
    (lambda r, c: (LAST - c, r)),
    (lambda r, c: (LAST - c, LAST - r)),
}


def coordinates(kind: int) -> npt.NDArray[np.uint8]:
    """An image whose pixels are their row, their column and a number that tells it from others."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([rows, columns, np.full_like(rows, kind)], -1).astype(np.uint8)


def open_coordinates(pair: ImagePair) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    return coordinates(2 * int(pair.scene)), coordinates(2 * int(pair.scene) + 1)


def pair(scene: int) -> ImagePair:
    return ImagePair(f"sub/{scene}.old.png", str(scene), Path("a"), Path("b"), HEIGHT, WIDTH)


def drawn(patches: RandomPatches) -> list[tuple[int, int, int, int]]:
    """Scene, top, left and pose of each patch, once both images are found to show the same."""
    grid = np.mgrid[:SIDE, :SIDE]
    found = []
    for index in range(len(patches)):
        batch = patches[index]
        image, target = (
            (values[0] * 255).round().int().numpy().transpose(1, 2, 0) for values in (batch.image, batch.target)
        )
        np.testing.assert_array_equal(image[..., :2], target[..., :2])
        scene = int(image[0, 0, 2]) // 2
        assert (image[..., 2] == 2 * scene).all()
        assert (target[..., 2] == 2 * scene + 1).all()
        top, left = image[..., :2].min((0, 1))
        poses = [np.array_equal(np.stack(symmetry(*grid), -1), image[..., :2] - (top, left)) for symmetry in SYMMETRIES]
        assert sum(poses) == 1
        found.append((scene, int(top), int(left), poses.index(True)))
    return found


def test_both_patches_show_the_same_place_in_the_same_pose() -> None:
    torch.manual_seed(0)
    found = drawn(RandomPatches([pair(0), pair(1)], open_coordinates, SIDE, per_image=2000))
    scenes, tops, lefts, poses = (Counter(values) for values in zip(*found, strict=True))
    assert scenes == {0: 2000, 1: 2000}
    for counts, possible in ((tops, HEIGHT - SIDE + 1), (lefts, WIDTH - SIDE + 1), (poses, 8)):
        assert len(counts) == possible
        expected = 4000 / possible
        assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())


def test_patches_without_augmentation_are_as_in_the_image() -> None:
    upright = drawn(RandomPatches([pair(0)], open_coordinates, SIDE, per_image=50, augment=False))
    assert len({pose for *_, pose in upright}) == 1
    image = RandomPatches([pair(0)], open_coordinates, SIDE, per_image=1, augment=False)[0].image[0]
    assert (image[0, 1] > image[0, 0]).all()
    assert (image[1, :, 1] > image[1, :, 0]).all()


def test_patches_follow_from_the_seed() -> None:
    patches = RandomPatches([pair(0), pair(1)], open_coordinates, SIDE, per_image=10)
    first, again, other = (drawn(patches) for seed in (1, 1, 2) if torch.manual_seed(seed))
    assert first == again != other


def test_ids_of_patches_are_unique() -> None:
    patches = RandomPatches([pair(0), pair(1)], open_coordinates, SIDE, per_image=3)
    ids = [patch.id for patch in patches]
    assert ids == [[f"sub/{scene}.old_{number:04d}"] for number in range(3) for scene in range(2)]


def test_the_largest_patch_is_the_whole_image() -> None:
    square = ImagePair("a.png", "0", Path("a"), Path("b"), HEIGHT, HEIGHT)
    patches = RandomPatches([square], lambda _: (coordinates(0)[:, :HEIGHT],) * 2, HEIGHT, 5, augment=False)
    for index in range(5):
        assert torch.equal(patches[index].image, as_tensor(coordinates(0)[:, :HEIGHT]))


def test_whole_images_are_scaled_to_one() -> None:
    batch = WholeImages([pair(0), pair(3)], open_coordinates)[1]
    assert batch.id == ["sub/3.old.png"]
    for values, kind in ((batch.image, 6), (batch.target, 7)):
        assert (values.dtype, values.shape) == (torch.float32, (1, 3, HEIGHT, WIDTH))
        np.testing.assert_allclose(values[0].permute(1, 2, 0), coordinates(kind) / 255, rtol=1e-6)


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535)])
def test_the_whole_range_becomes_0_to_1(dtype: type, largest: int) -> None:
    values = as_tensor(np.array([[[0, largest, largest // 5]]], dtype)).flatten().tolist()
    assert values == pytest.approx([0, 1, 1 / 5])
    assert values[:2] == [0, 1]


def test_poses_are_those_of_opencv() -> None:
    image = np.random.RandomState(0).randint(0, 256, (3, 5, 3), np.uint8)
    turned = [image, *(cv2.rotate(image, code) for code in (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180))]
    turned.append(cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE))
    for pose in range(8):
        expected = turned[pose % 4] if pose < 4 else cv2.flip(turned[pose % 4], 1)
        np.testing.assert_array_equal(turn_and_mirror(image, pose), expected)


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_enlarging_is_that_of_pillow(factor: int) -> None:
    image = draw_photograph(13, 17, np.random.RandomState(0))
    image[4:8, 5:11] = 255  # edges, at which it overshoots
    image[9:, 5:11] = 0
    made = enlarge(as_tensor(image), factor)[0]
    for plane, values in zip(made, np.moveaxis(image.astype(np.float32), -1, 0), strict=True):
        # As floating point: of 8-bit images Pillow cuts off what overshoots after the first of two passes, too.
        expected = Image.fromarray(values).resize((17 * factor, 13 * factor), Image.Resampling.BICUBIC)
        np.testing.assert_allclose(plane * 255, np.asarray(expected).clip(0, 255), atol=1e-3)


def test_own_images_keep_their_bits(odd_images: ImageFiles) -> None:
    folder, expected = odd_images
    images = DegradedImages(ImageFolder(folder, EightBit()))
    assert len(images) == len(expected)
    for index, name in enumerate(sorted(expected)):
        batch = images[index]
        deep = "16" in name or "32" in name
        assert batch.id == [name]
        assert (batch.bits.tolist(), batch.bits.dtype) == ([16 if deep else 8], torch.int64)
        assert (batch.grey.tolist(), batch.grey.dtype) == ([name in GREY], torch.bool)
        assert (batch.image.dtype, batch.image.shape) == (torch.float32, (1, 3, *expected[name].shape[:2]))
        pixels = batch.image[0].permute(1, 2, 0) * (65535 / 256 if deep else 255)
        np.testing.assert_allclose(pixels, expected[name], atol=3 if "jp" in name else 1 if deep else 1e-4)


GREY = {"grey.png", "black_white.png", "grey16.png", "grey16.tif", "grey32.tif", "grey_alpha.png", "grey.jpeg"}


def test_own_images_are_enlarged(odd_images: ImageFiles) -> None:
    folder, expected = odd_images
    images = DegradedImages(ImageFolder(folder, EightBit()), upscale=3)
    for index, name in enumerate(sorted(expected)):
        height, width = expected[name].shape[:2]
        batch = images[index]
        assert batch.image.shape == (1, 3, 3 * height, 3 * width)
        assert 0 <= batch.image.min() <= batch.image.max() <= 1
