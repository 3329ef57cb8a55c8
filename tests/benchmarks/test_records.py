"""Rows as CSV and as text, the machine they come from, and the comparison of experiments that writes them."""

import platform
from pathlib import Path

import pytest
import torch

from benchmarks import machine, records
from tests.benchmarks import rows_of


def test_written_rows_carry_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.csv"
    records.write(path, [{"a": 1.5, "b": None}, {"a": 2, "c": "text"}])
    first, second = rows_of(path)
    assert list(first) == ["a", "b", "c", *machine.machine()]
    assert (first["a"], first["b"], first["c"]) == ("1.5", "", "")
    assert (second["a"], second["c"]) == ("2", "text")
    assert first["python"] == platform.python_version() and first["torch"] == torch.__version__
    assert first["cpu"] and first["threads"] == str(torch.get_num_threads())
    assert [file.name for file in path.parent.iterdir()] == ["rows.csv"]


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("old")

    class Full:
        def __init__(self, *_: object, **__: object) -> None:
            raise OSError("disk full")

    monkeypatch.setattr("csv.DictWriter", Full)
    with pytest.raises(OSError, match="disk full"):
        records.write(path, [{"a": 1}])
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_missing_package_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine._version("no-such-package-anywhere") == ""
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert machine.machine()["commit"] == "unknown"


def test_table() -> None:
    rows = [{"name": "a", "value": 12.3456}, {"name": "long", "value": None}]
    text = records.table(rows, {"name": "name", "value": "ms"}, digits=3)
    assert text == "name |   ms\na    | 12.3\nlong |"


def test_ratio() -> None:
    assert records.ratio({"a": 3}, {"a": 2.0}, "a") == 1.5
    for numerator, denominator in (({"a": 3}, {}), ({}, {"a": 1}), ({"a": 3}, {"a": 0}), ({"a": 3}, {"a": None})):
        assert records.ratio(numerator, denominator, "a") is None


def test_command_line() -> None:
    options = records.parse(records.parser("operator", "What it does."), ["--device", "cpu", "--quick"])
    assert (options.device, options.dtype, options.rounds) == (torch.device("cpu"), torch.float32, 3)
    assert records.setting(options) == {"device": "cpu", "dtype": "float32", "rounds": 3}
    options = records.parse(records.parser("operator", None), ["--device", "cuda"])
    assert (options.dtype, options.rounds) == (torch.bfloat16, 20)
