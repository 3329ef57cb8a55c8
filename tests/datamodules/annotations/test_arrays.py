from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from datamodules import DataError
from datamodules.annotations.reading import read_annotations


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3)), r"its points have the shape \(2, 3\), not \(N, 2\)\.$"),
        (np.zeros(2), r"its points have the shape \(2,\), not \(N, 2\)\.$"),
        (np.array([[1, np.inf]]), r"it holds coordinates that are not finite\.$"),
        (np.array([["1", "2"]]), r"its array holds no numbers\.$"),
        (np.array([[1j, 2]]), r"its array holds no numbers\.$"),
        (np.array([[None, 2]]), r"cannot be read as an array of NumPy: Object arrays"),
    ],
)
def test_other_arrays_are_told(tmp_path: Path, array: Any, message: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=rf"^'{tmp_path}/a\.npy' .*{message}"):
        read_annotations(tmp_path, tmp_path)


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.int64, np.float16])
def test_numbers_of_any_type(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "a.npy", np.array([[3, 4], [5, 6]], dtype))
    (image,) = read_annotations(tmp_path, tmp_path).images
    assert (image.points.dtype, image.points.tolist()) == (np.float64, [[3, 4], [5, 6]])


@pytest.mark.parametrize("text", ["1 2.5\n3 4\n", "# x y\n1,2.5\n\n3,4", "1;2.5\r\n3 ; 4\r\n", "\t1\t2.5\n3\t4\n"])
def test_texts(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text, newline="")
    assert read_annotations(tmp_path, tmp_path).images[0].points.tolist() == [[1, 2.5], [3, 4]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2\n3 x\n", r"line 2: x and y must be numbers, got '3 x'\.$"),
        ("0 0.5 0.5 0.1 0.1\n", r"line 1: it must be a finite x and y, got '0 0\.5 0\.5 0\.1 0\.1'\.$"),
        ("1 2\n\n3 nan\n", r"line 3: it must be a finite x and y, got '3 nan'\.$"),
    ],
)
def test_other_texts_are_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_annotations(tmp_path, tmp_path)


def test_other_variables_of_matlab_are_told(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"points": np.zeros((2, 2)), "n": 2})
    with pytest.raises(DataError, match=r"must have the variable image_info or annPoints, got points, n\.$"):
        read_annotations(tmp_path, tmp_path)
