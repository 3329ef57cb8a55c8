import unicodedata
from pathlib import Path

import numpy as np
import pytest

from datamodules import DataError
from datamodules.annotations.matching import match_images
from datamodules.annotations.structure import Annotations, ImageAnnotation

FOLDER = Path("photos")
SOURCE = Path("points.csv")


def annotate(*names: str) -> Annotations:
    """Annotate each image with its number, counted from 1."""
    images = [
        ImageAnnotation(name, np.full((1, 2), row - 1.0), "pixels", None, None, f"'points.csv', row {row}")
        for row, name in enumerate(names, 2)
    ]
    return Annotations(SOURCE, "", images, {})


@pytest.mark.parametrize(
    "name",
    [
        "plate 1/a.b.jpg",
        "plate 1/a.b",
        "a.b.jpg",
        "a.b",
        "./plate 1//a.b.jpg",
        "plate 1\\a.b.jpg",
        "photos/plate 1/a.b.jpg",
        "C:\\me\\photos\\plate 1\\a.b",
        "../plate 1/a.b.jpg",
    ],
)
def test_names_of_one_image(name: str) -> None:
    images = match_images(annotate("other", name), FOLDER, ["plate 2/c.jpg", "plate 1/a.b.jpg", "other.png"], "empty")
    assert list(images) == ["plate 2/c.jpg", "plate 1/a.b.jpg", "other.png"]
    assert [image.points.tolist() for image in images.values()] == [[], [[2, 2]], [[1, 1]]]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_as_one_sign_or_two(forms: tuple[str, str]) -> None:
    written, stored = (unicodedata.normalize(form, "Zürich/é.jpg") for form in forms)  # type: ignore[arg-type]
    assert written != stored
    assert list(match_images(annotate(written), FOLDER, [stored])) == [stored]
    both = [written, stored]
    assert [image.points[0, 0] for image in match_images(annotate(*both), FOLDER, both).values()] == [1, 2]


@pytest.mark.parametrize(
    ("name", "images", "told"),
    [
        ("a.jpg", ["1/a.jpg", "2/a.jpg"], "1/a.jpg, 2/a.jpg"),
        ("a", ["a.jpg", "a.png"], "a.jpg, a.png"),
        ("x/1/a.jpg", ["1/a.jpg", "a.jpg"], "1/a.jpg, a.jpg"),
    ],
)
def test_names_that_may_mean_several(name: str, images: list[str], told: str) -> None:
    message = rf"^'points\.csv', row 2: '{name}' must be the name of one image, got one of {told}\. Write its"
    with pytest.raises(DataError, match=message):
        match_images(annotate(name), FOLDER, images)


def test_the_whole_path_comes_first() -> None:
    images = match_images(annotate("a.jpg", "1/a.jpg"), FOLDER, ["1/a.jpg", "a.jpg"])
    assert [image.points[0, 0] for image in images.values()] == [2, 1]


@pytest.mark.parametrize("name", ["b.jpg", "2/a.jpg", "a.png", "a.jp", "1a.jpg", "a(1).jpg", ""])
def test_an_image_that_is_not_there(name: str) -> None:
    message = r"^'photos' lacks 1 images that are annotated: '.*' \('points\.csv', row 2\)\. Add them, or correct"
    with pytest.raises(DataError, match=message):
        match_images(annotate(name), FOLDER, ["1/a.jpg", "a1.jpg"], "empty")


def test_two_annotations_of_one_image() -> None:
    message = r"^'points\.csv', row 3: '1/a\.jpg' must be annotated once, .* of it in 'points\.csv', row 2\.$"
    with pytest.raises(DataError, match=message):
        match_images(annotate("a", "a.jpg"), FOLDER, ["1/a.jpg"])


def test_images_that_are_not_named() -> None:
    message = r"^'points\.csv' does not name 2 images of 'photos': b\.jpg, c\.jpg\. .*: unlisted=empty\.$"
    with pytest.raises(DataError, match=message):
        match_images(annotate("a"), FOLDER, ["a.jpg", "b.jpg", "c.jpg"])
    empty = match_images(annotate("a"), FOLDER, ["a.jpg", "b.jpg"], "empty")["b.jpg"]
    assert (empty.name, empty.points.shape) == ("b.jpg", (0, 2))
    with pytest.raises(ValueError, match=r"^unlisted must be one of error, empty, got 'skip'$"):
        match_images(annotate("a"), FOLDER, ["a.jpg"], "skip")  # type: ignore[arg-type]
