import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from datamodules import DataError
from datamodules.crowd.annotations import pair_files, read_ann_points, read_image_info
from tests.support.crowd_files import write_image_info, write_shanghaitech, write_ucf_qnrf

POINTS = np.array([(1.5, 2.25), (640, 3), (640, 3), (-4, 1e4)])


def test_generated_files_are_nested_as_published(tmp_path: Path) -> None:
    write_image_info(tmp_path / "GT_IMG_1.mat", POINTS)
    location = loadmat(tmp_path / "GT_IMG_1.mat")["image_info"][0, 0][0, 0][0]
    assert np.array_equal(location, POINTS)


def test_positions_are_read_as_annotated(tmp_path: Path) -> None:
    for name, annotated in write_shanghaitech(tmp_path).items():
        path = tmp_path / "part_A" / name.replace("images/", "ground-truth/GT_").replace(".jpg", ".mat")
        points = read_image_info(path)
        assert points.dtype == np.float32
        assert np.array_equal(points, annotated.astype(np.float32))
    for name, annotated in write_ucf_qnrf(tmp_path).items():
        points = read_ann_points(tmp_path / name.replace(".jpg", "_ann.mat"))
        assert points.dtype == np.float32
        assert np.array_equal(points, annotated.astype(np.float32))


def test_whole_numbers_are_read(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"annPoints": np.array([[3, 4]], np.uint16)})
    assert read_ann_points(tmp_path / "a.mat").tolist() == [[3, 4]]


@pytest.mark.parametrize("shape", [(0, 0), (0, 2), (1, 0), (2, 0), (0, 1)])
def test_no_heads_in_any_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    savemat(tmp_path / "a.mat", {"annPoints": np.zeros(shape)})
    write_image_info(tmp_path / "b.mat", np.zeros(shape))
    for points in (read_ann_points(tmp_path / "a.mat"), read_image_info(tmp_path / "b.mat")):
        assert (points.shape, points.dtype) == ((0, 2), np.float32)


@pytest.mark.parametrize("compressed", [False, True])
def test_truncated_file_is_named(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "img_0001_ann.mat"
    savemat(path, {"annPoints": np.random.RandomState(0).rand(30, 2)}, do_compression=compressed)
    whole = path.read_bytes()
    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"^'.*img_0001_ann\.mat' cannot be used: "):
            read_ann_points(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"points": POINTS}, "it holds no variable annPoints. Replace it by the published file."),
        ({"annPoints": POINTS.T[:, :3]}, "its points have the shape (2, 3), not (N, 2)"),
        ({"annPoints": np.zeros((2, 2, 2))}, "its points have the shape (2, 2, 2), not (N, 2)"),
        ({"annPoints": np.array([[1, np.nan]])}, "it holds coordinates that are not finite"),
        ({"annPoints": np.array([[np.inf, 1]])}, "it holds coordinates that are not finite"),
        ({"annPoints": "some text"}, "its annPoints holds no numbers"),
        ({"annPoints": np.array([[1j, 2]])}, "its annPoints holds no numbers"),
    ],
)
def test_other_content_is_named(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    savemat(tmp_path / "img_0001_ann.mat", content)
    with pytest.raises(DataError) as error:
        read_ann_points(tmp_path / "img_0001_ann.mat")
    assert str(error.value).startswith(f"'{tmp_path}/img_0001_ann.mat' cannot be used: {message}")


@pytest.mark.parametrize("variable", [POINTS, {"location": POINTS}, np.zeros((1, 1)), np.zeros((0, 0), object)])
def test_other_nesting_is_named(tmp_path: Path, variable: Any) -> None:
    savemat(tmp_path / "GT_IMG_1.mat", {"image_info": variable})
    with pytest.raises(DataError, match=r"^'.*GT_IMG_1\.mat' .*: its image_info is not built as published\. Replace"):
        read_image_info(tmp_path / "GT_IMG_1.mat")


def test_version_7_3_is_said_to_be_the_reason(tmp_path: Path) -> None:
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + struct.pack("<H", 0x0200) + b"IM"
    (tmp_path / "a.mat").write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(
        DataError, match=r"^'.*a\.mat' cannot be used: .* MATLAB's version 7\.3 \(HDF5\)\. Save it with"
    ):
        read_ann_points(tmp_path / "a.mat")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^'.*absent\.mat' cannot be used: "):
        read_ann_points(tmp_path / "absent.mat")


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_pairs_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    images = touch(tmp_path / "images", "IMG_10.jpg", "IMG_2.JPG", "IMG_1.jpg", ".IMG_7.jpg", "notes.txt")
    annotations = touch(tmp_path / "gt", "GT_IMG_1.mat", "GT_IMG_2.mat", "GT_IMG_10.mat", "other.mat", "IMG_1.h5")
    pairs = pair_files(images, annotations, prefix="GT_")
    assert [image.name for image, _ in pairs] == ["IMG_1.jpg", "IMG_2.JPG", "IMG_10.jpg"]
    assert [annotation for _, annotation in pairs] == [annotations / f"GT_IMG_{number}.mat" for number in (1, 2, 10)]


def test_what_has_no_partner_is_named(tmp_path: Path) -> None:
    folder = touch(tmp_path, "img_1.jpg", "img_2.jpg", "img_10.jpg", "img_2_ann.mat")
    with pytest.raises(DataError, match=r"lacks the annotations of 2 images .*: img_1\.jpg \(img_1_ann\.mat\), img_10"):
        pair_files(folder, folder, suffix="_ann")
    touch(folder, *[f"img_{number}_ann.mat" for number in range(1, 12)])
    with pytest.raises(DataError, match=r"lacks the images of 8 annotations .*: img_3_ann\.mat, img_4.* and 3 more\."):
        pair_files(folder, folder, suffix="_ann")


def test_images_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = touch(tmp_path, "img_1.jpg", "img_1.png", "img_1_ann.mat")
    with pytest.raises(
        DataError, match=r"share their name but for the suffix, and so an annotation, with img_1\.jpg\."
    ):
        pair_files(folder, folder, suffix="_ann")


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    for folder in (touch(tmp_path / "empty"), tmp_path / "absent"):
        with pytest.raises(DataError, match=rf"^'{folder}' is missing or holds no images"):
            pair_files(folder, tmp_path)
