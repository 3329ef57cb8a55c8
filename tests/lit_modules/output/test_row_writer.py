import csv
from pathlib import Path

import pytest

from lit_modules.output import RowWriter, write_csv
from tests.lit_modules.conftest import fake_process


def test_rows_of_all_processes_are_joined_once_each(tmp_path: Path) -> None:
    """Two processes on three images, of which a padding sampler gives the first to both."""
    second = RowWriter(tmp_path / "rows.csv", ["id", "value"], fake_process(1, 2))
    first = RowWriter(tmp_path / "rows.csv", ["id", "value"], fake_process(0, 2))
    first.write([["a", 1], ["c", 3]])
    second.write([["b, with comma", 2], ["a", 1]])
    second.finish()
    assert not (tmp_path / "rows.csv").exists()
    first.finish()
    assert (tmp_path / "rows.csv").read_text().splitlines() == ["id,value", "a,1", '"b, with comma",2', "c,3"]
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]


def test_a_row_belongs_to_its_id_whatever_that_is(tmp_path: Path) -> None:
    names = ["a\nb", "a\r\nb", "a\rb", "'", '"', '""', ";", ",", ";,\"'", " x ", "-1", "=1", "\\", "%s{}", "\t"]
    names += ["latin1-\udce9", "caf\u00e9", "cafe\u0301", "a", "A", "n" * 255]
    writer = RowWriter(tmp_path / "rows.csv", ["id", "value"], fake_process(0, 1))
    writer.write([name, number] for number, name in enumerate(names))
    writer.finish()
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert {row["id"]: int(row["value"]) for row in csv.DictReader(file)} == {n: i for i, n in enumerate(names)}


def test_interrupted_writing_leaves_the_previous_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_csv(path, ["a"], [[1]])

    def rows() -> object:
        yield [2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_csv(path, ["a"], rows())
    assert path.read_text().splitlines() == ["a", "1"]
