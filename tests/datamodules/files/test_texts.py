import json
from pathlib import Path

import pytest

from datamodules import DataError
from datamodules.files.texts import load_json, open_text, read_start


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_texts_of_all_encodings_that_say_so(tmp_path: Path, encoding: str) -> None:
    text = "Zürich\r\nÅ 細胞\n"
    (tmp_path / "a").write_bytes(text.encode(encoding))
    with open_text(tmp_path / "a") as file:
        assert file.read() == text
    (tmp_path / "a.json").write_bytes(json.dumps({"ü": [1]}, ensure_ascii=False).encode(encoding))
    assert load_json(tmp_path / "a.json") == {"ü": [1]}


def test_other_encodings_are_named_by_their_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a\nb\nZ\xfcrich\n\xff")
    with pytest.raises(DataError, match=r"^'.*/a', line 3: it must be UTF-8 text, got the byte 0xfc\. Save it"):
        load_json(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n "b" 2}', r"', line 2, column 6: no valid JSON \(.+\)\.$"),
        ("", r"', line 1, column 1: no valid JSON"),
        ("[" * 100_000, r"' is no usable JSON \(.*recursion.*\)\.$"),
    ],
)
def test_faults_of_json_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=message):
        load_json(tmp_path / "a.json")


def test_objects_are_replaced_as_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"a": 1}, {"a": {"a": 2}}]')
    assert load_json(tmp_path / "a.json", lambda content: content["a"]) == [1, 2]


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^'.*absent' cannot be read: No such file or directory\.$"):
        read_start(tmp_path / "absent", 4)
    with pytest.raises(DataError, match=r"^'.*' cannot be read: Is a directory\.$"):
        load_json(tmp_path)
