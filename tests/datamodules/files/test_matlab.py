from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from datamodules import DataError
from datamodules.files.matlab import list_variables, read_variable


@pytest.mark.parametrize("compressed", [False, True])
def test_variables_are_read_as_written(tmp_path: Path, compressed: bool) -> None:
    values = np.random.RandomState(0).randint(0, 256, (2, 3, 4, 5, 3), np.uint8)
    savemat(tmp_path / "a.mat", {"other": 1, "values": values}, do_compression=compressed)
    read = read_variable(tmp_path / "a.mat", "values")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, values)
    assert sorted(list_variables(tmp_path / "a.mat")) == ["other", "values"]


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    values = np.random.RandomState(0).randint(0, 256, (9, 999), np.uint8)
    savemat(tmp_path / "whole.mat", {"values": values}, do_compression=True)
    content = (tmp_path / "whole.mat").read_bytes()
    (tmp_path / "truncated.mat").write_bytes(content[:-500])
    (tmp_path / "empty.mat").touch()
    (tmp_path / "text.mat").write_text("no MATLAB file " * 100)
    (tmp_path / "folder.mat").mkdir()
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    (tmp_path / "new.mat").write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n")
    savemat(tmp_path / "other.mat", {"something": values})
    reasons = {
        "truncated.mat": r"it is damaged \(.*\)\. Replace it",
        "empty.mat": r"it is damaged \(.*\)\. Replace it",
        "text.mat": r"it is damaged \(.*\)\. Replace it",
        "folder.mat": "Is a directory. Replace it",
        "absent.mat": "No such file or directory. Replace it",
        "new.mat": r"it is of MATLAB's version 7\.3 \(HDF5\)\. Save it with '-v7', or replace it",
        "other.mat": "it holds no variable values. Replace it",
    }
    for name, reason in reasons.items():
        with pytest.raises(DataError, match=rf"^'.*/{name}' cannot be used: {reason} by the published file\.$"):
            read_variable(tmp_path / name, "values")
    for name in ("folder.mat", "absent.mat", "new.mat", "empty.mat", "text.mat"):
        with pytest.raises(DataError, match=rf"^'.*/{name}' cannot be used: {reasons[name]} by the published file\.$"):
            list_variables(tmp_path / name)
