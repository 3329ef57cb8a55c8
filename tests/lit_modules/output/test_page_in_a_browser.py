"""The page of a prediction as a browser shows it."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from lit_modules.output import Entry, PredictionPage
from tests.support.browser import look

NAMES = ["a b.png", "50%.png", "Größe/東京.png", "#1?.png", "long" * 50 + ".jpg"]


@pytest.fixture
def page(trainer: Trainer) -> Path:
    """A page with two pictures compared, a small one beside them, and shares of two classes for each name."""
    made = PredictionPage(trainer, "Things & others", len(NAMES))
    for name in NAMES:
        before, after = (
            made.draw(name, title, torch.full((3, 300, 400), grey, dtype=torch.uint8))
            for title, grey in (("before", 50), ("after", 200))
        )
        small = made.draw(name, "whole", torch.full((3, 20, 30), 100, dtype=torch.uint8))
        made.add(Entry(name, [small], [before, after], ["400 × 300 pixels"], [("cat", 0.75), ("dog", 0.25)]))
    made.finish(["A note."])
    return made.path


@pytest.mark.parametrize("width", [360, 1100])
def test_all_that_a_page_shows_is_there_and_on_this_disk(page: Path, width: int) -> None:
    seen = look(page, width)
    assert seen["title"] == "Things & others"
    assert sorted(seen["headings"]) == sorted(NAMES)
    assert seen["console"] == []
    asked = {address.partition("://")[0] for address in seen["requests"]}
    assert asked == {"file"}, "nothing comes from a network"
    sizes = [[400, 300], [400, 300], [30, 20]]
    assert [image["stored"] for image in seen["images"]] == sizes * len(NAMES), "every image is found and decoded"
    assert seen["width"] == seen["room"] <= width, "nothing is wider than the window"
    assert seen["meters"] == [0.75, 0.25] * len(NAMES)


@pytest.mark.parametrize(("width", "shown"), [(1100, 400), (360, None)])
def test_before_and_after_lie_on_each_other(page: Path, width: int, shown: float | None) -> None:
    """Half of the first one is seen; in a narrow window both are smaller."""
    seen = look(page, width)
    assert len(seen["compared"]) == len(NAMES)
    for compared in seen["compared"]:
        after, before = compared["images"]
        assert after["box"] == before["box"]
        left, top, *size = after["box"]
        assert size[0] == (shown or seen["room"] - 30), "the page's margins are 15 pixels, one rem"
        assert size == pytest.approx([size[0], size[0] * 3 / 4])
        assert compared["before"] == pytest.approx([left, top, size[0] / 2, size[1]])
