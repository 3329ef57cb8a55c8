import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from datamodules import DataError
from datamodules.annotations.reading import read_annotations
from datamodules.annotations.structure import Annotations


def read(folder: Path, text: str, **arguments: str) -> Annotations:
    (folder / "points.csv").write_text(text, encoding="utf-8", newline="")
    return read_annotations(folder / "points.csv", folder, **arguments)  # type: ignore[arg-type]


def test_rows_of_an_image_need_not_be_adjacent(tmp_path: Path) -> None:
    annotations = read(tmp_path, 'x,note,image,y\r\n1,,"b, c.jpg",2\r\n\r\n3,a,a.jpg,4\r\n 5 ,,"b, c.jpg",-6e1\r\n')
    assert [(image.name, image.points.tolist(), image.place[-5:]) for image in annotations.images] == [
        ("b, c.jpg", [[1, 2], [5, -60]], "row 2"),
        ("a.jpg", [[3, 4]], "row 4"),
    ]
    assert annotations.description == "CSV: 2 images, 3 points"


def test_splits(tmp_path: Path) -> None:
    text = "image,x,y,Split\na,1,1,train\nb,1,1,Valid\nc,,,testing\na,2,2,TRAINING\n"
    assert [image.split for image in read(tmp_path, text).images] == ["train", "val", "test"]
    with pytest.raises(DataError, match=r"points\.csv', row 3: split of 'a' must be train as before, got val\.$"):
        read(tmp_path, "image,x,y,split\na,1,1,train\na,1,1,val\n")
    with pytest.raises(DataError, match=r"row 2: split must be one of train, val, test, got 'all'\.$"):
        read(tmp_path, "image,x,y,split\na,1,1,all\n")


def test_points_come_before_corners_of_their_boxes(tmp_path: Path) -> None:
    (image,) = read(tmp_path, "image,x,y,xmin,ymin,xmax,ymax\na,1,2,30,30,50,50\n").images
    assert image.points.tolist() == [[1, 2]]


def test_size_of_the_image_beside_corners_is_no_size_of_a_box(tmp_path: Path) -> None:
    text = "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,640,480,cell,30,30,50,40\n"
    assert read(tmp_path, text, category="cell").images[0].points.tolist() == [[40, 35]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,x,y\na,1,2\nb,abc,3\n", r"row 3: x must be a finite number, got 'abc'\.$"),
        ("image,x,y\na,1,\n", r"row 2: y must be a finite number, got ''\.$"),
        ("image,x,y\na,nan,1\n", r"row 2: x must be a finite number, got 'nan'\.$"),
        ("image,x,y\na,1,-inf\n", r"row 2: y must be a finite number, got '-inf'\.$"),
        ("image;x;y\na;1,5;2\n", r"row 2: x must be a finite number, got '1,5'\.$"),
        ("image,x,y\na,1\n", r"row 2: it must have 3 fields like the first row, got 2\.$"),
        ("image,x,y\nb, c.jpg,1,2\n", r"row 2: it must have 3 fields like the first row, got 4\.$"),
        ("image,x,y\n,1,2\n", r"row 2: image must be a name, got nothing\.$"),
        ("image,x,y\na,,\na,1,2\n", r"row 3: 'a' must be without objects, as row 2 says, got one\.$"),
        ("image,x,y\na,1,2\na,,\n", r"row 3: x and y must be numbers, as 'a' has objects in rows before, got nothing"),
        ("image,x,y\na,,\na,,\n", r"row 3: 'a' must be annotated once, got another annotation of it in row 2\.$"),
        ('image,x,y\na,1,2\n"b,1,2\nc,1,2\n', r"row 3: no valid CSV \(.*end of data\)\.$"),
        ("image,x,y,w,h\na,1,2,3,-4\n", r"row 2: a box must not have a negative size, got width 3 and height -4\.$"),
        ("image,x1,y1,x2,y2\na,1,2,0,4\n", r"negative size, got corners \(1, 2\) and \(0, 4\)\.$"),
        ("image,lon,lat\na,1,2\n", r"row 1: the columns must be image, x, y \(or .*\), got image, lon, lat\.$"),
        ("x,y\n1,2\n", r"row 1: the columns must be image, x, y .*, got x, y\.$"),
        ("image,x,y,w\na,1,2,3\n", r"row 1: the columns must be .*, got image, x, y, w\.$"),
        ("a.jpg,1,2\nb.jpg,1,2\n", r"row 1: the columns must be .*, got a\.jpg, 1, 2\.$"),
        ("image,x,y,X\na,1,2,3\n", r"row 1: x must be one column, got x, X\.$"),
        ("image,x,y\n", r"points\.csv' is an empty table: it has no rows but the names of its columns\.$"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(f"'{tmp_path}/points.csv'")
    assert "\n" not in str(error.value)


def test_a_category_needs_a_column(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^category must be one that occurs in '.*': there is none, got 'cell'$"):
        read(tmp_path, "image,x,y\na,1,2\n", category="cell")


def test_a_fault_far_down_is_named_by_its_row(tmp_path: Path) -> None:
    rows = [f"{number // 100}.jpg,{number},{number}" for number in range(20_000)]
    rows[12_345] = "7.jpg,one,1"
    with pytest.raises(DataError, match=r"row 12347: x must be a finite number, got 'one'\.$"):
        read(tmp_path, "\n".join(["image,x,y", *rows]))


def test_bytes_that_are_no_text_are_named_by_their_line(tmp_path: Path) -> None:
    rows = [f"{number}.jpg,1,1\n".encode() for number in range(9_000)]
    rows[8_000] = b"M\xfcnze.jpg,1,1\n"
    (tmp_path / "points.csv").write_bytes(b"image,x,y\n" + b"".join(rows))
    with pytest.raises(DataError, match=r"points\.csv', line 8002: it must be UTF-8 text, got the byte 0xfc\. Save"):
        read_annotations(tmp_path / "points.csv", tmp_path)


def test_many_rows_take_little_memory(tmp_path: Path) -> None:
    count = 30_000
    numbers = np.random.RandomState(0).randint(0, 4000, (count, 2))
    rows = [f"{number % 7}.jpg,{x},{y}" for number, (x, y) in enumerate(numbers.tolist())]
    (tmp_path / "points.csv").write_text("\n".join(["image,x,y", *rows]))
    tracemalloc.start()
    try:
        annotations = read_annotations(tmp_path / "points.csv", tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(len(image.points) for image in annotations.images) == count
    assert peak < 100 * count  # the numbers twice are 32 bytes a row, a list of rows would be some 300
