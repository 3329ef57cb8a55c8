"""The page of a prediction: readable by an HTML parser, all its addresses are files, whatever inputs are called."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from lit_modules.output import Entry, Picture, PredictionPage, find_change, reduce_image
from lit_modules.output.page_html import make_page
from tests.support.pages import Page

ODD = [
    *("a b.png", "50%.png", "#1?.png", "Größe/東京.png", "a&b<i>\"'.png", "new\nline.png", "%41.png", "x:y.png"),
    os.fsdecode(b"not utf-8 \xff.png"),
    "\u202egnp.exe",
]


def made(trainer: Trainer, names: list[str], num_shown: int = 1000) -> Path:
    page = PredictionPage(trainer, "Things & others", num_shown)
    for number, name in enumerate(names):
        result = page.path.parent / "predictions" / name
        result.parent.mkdir(parents=True, exist_ok=True)
        result.write_text("result")
        if page.takes(name):
            picture = page.draw(name, "input", torch.full((3, 30, 40), number, dtype=torch.uint8))
            page.add(Entry(name, [picture], facts=(f"fact {number}",), links=[("result", page.relative(result))]))
    page.finish(["A note."])
    return page.path


def test_names_of_any_kind_are_shown_and_linked(trainer: Trainer) -> None:
    path = made(trainer, ODD)
    page = Page(path)
    assert len(page.ids) == len(ODD) == len(page.images)
    results = {page.file(address).relative_to(path.parent / "predictions").as_posix() for address, _ in page.links}
    assert results == set(ODD)
    for name in ODD:
        if name.isprintable():
            assert name in page.ids
    assert "new\\nline.png" in page.ids
    assert "\\u202egnp.exe" in page.ids, "no name turns the direction of what follows"


def test_pictures_are_small_files_of_their_own(trainer: Trainer) -> None:
    page = PredictionPage(trainer, "t", 10)
    large = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 600, 1200), np.uint8))
    first, second = (page.draw("a/b.png", title, large) for title in ("before", "after"))
    assert first.path != second.path
    assert (first.width, first.height) == (480, 240)
    with Image.open(page.path.parent / first.path) as image:
        assert (image.format, image.size) == ("JPEG", (480, 240))


def test_the_first_inputs_are_shown_and_the_others_counted(trainer: Trainer) -> None:
    page = Page(made(trainer, [f"{number}.png" for number in range(7)], num_shown=3))
    assert page.ids == ["0.png", "1.png", "2.png"]
    assert "The first 3 of 7 inputs." in page.texts
    assert "A note." in page.texts
    assert len(list((page.folder / "thumbnails").iterdir())) == 3


def test_no_page_where_none_is_wanted(trainer: Trainer) -> None:
    path = made(trainer, ["a.png"], num_shown=0)
    assert not path.exists()
    assert not (path.parent / "thumbnails").exists()


def test_an_input_that_comes_twice_is_shown_once(trainer: Trainer) -> None:
    page = Page(made(trainer, ["a.png", "a.png"], num_shown=1))
    assert page.ids == ["a.png"]
    assert "1 input." in page.texts


def test_tables_of_what_went_wrong_are_linked(trainer: Trainer) -> None:
    folder = Path(trainer.log_dir)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "failed.csv").write_text("id,reason\n")
    page = Page(made(trainer, ["a.png"]))
    assert ("failed.csv", "failed.csv: inputs that failed") in page.links
    assert not [text for _, text in page.links if "renamed" in text]


def test_a_page_that_cannot_be_written_leaves_the_earlier_one(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(trainer, ["a.png"])
    before = path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    page = PredictionPage(trainer, "t", 10)
    with pytest.raises(OSError, match="No space left"):
        page.finish()
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.part"))


def test_two_hundred_photographs_make_a_light_page(tmp_path: Path) -> None:
    (tmp_path / "thumbnails").mkdir()
    entries = []
    for number in range(200):
        pictures = [Picture(f"thumbnails/{number}{kind}.jpg", 480, 320, kind) for kind in "abcd"]
        for picture in pictures:
            (tmp_path / picture.path).touch()
        entries.append(Entry(f"IMG_{number:04d}.jpg", pictures[:2], pictures[2:], ["4000 × 3000 pixels"]))
    (tmp_path / "index.html").write_text(make_page("t", entries, [], []), encoding="utf-8")
    assert (tmp_path / "index.html").stat().st_size < 400_000
    assert len(Page(tmp_path / "index.html").images) == 800


def test_tiny_pictures_are_enlarged_by_whole_factors(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    entry = Entry("a", [Picture("a.jpg", 32, 30, "input")], shares=[("cat", 0.75), ("dog", 0.25)])
    (tmp_path / "index.html").write_text(make_page("t", [entry], [], []), encoding="utf-8")
    page = Page(tmp_path / "index.html")
    assert [(image["width"], image["height"]) for image in page.images] == [("128", "120")]
    assert page.meters == [0.75, 0.25]
    assert "75.0%" in page.texts


def test_images_are_reduced_by_the_mean_of_what_they_cover() -> None:
    image = torch.arange(2 * 3, dtype=torch.float32).reshape(1, 2, 3)
    assert torch.equal(reduce_image(image, 3), image)
    flat = torch.full((3, 200, 100), 0.25)
    assert reduce_image(flat, 50).shape == (3, 50, 25)
    torch.testing.assert_close(reduce_image(flat, 50), torch.full((3, 50, 25), 0.25))


@pytest.mark.parametrize(("size", "place"), [((400, 500), (300, 100)), ((64, 2000), (0, 1700)), ((240, 240), (10, 10))])
def test_the_part_that_changed_most_is_found(size: tuple[int, int], place: tuple[int, int]) -> None:
    before = torch.zeros(3, *size)
    after = before.clone()
    after[:, place[0] : place[0] + 60, place[1] : place[1] + 60] = 1
    rows, columns = find_change(before, after, 240)
    part = after[:, rows, columns]
    assert part.shape[1:] == (min(240, size[0]), min(240, size[1]))
    assert part.sum() == after.sum()
