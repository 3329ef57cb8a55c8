import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lit_modules.output import arrange_panels, draw_heat, draw_image
from tests.support.pictures import CARD, title_on_card, title_rows

RED = torch.tensor([200, 0, 0], dtype=torch.uint8)


def red(height: int, width: int) -> Tensor:
    return RED[:, None, None].expand(3, height, width)


def boxes(picture: Tensor) -> list[tuple[int, int, int, int]]:
    """Find red panels: top, left, height and width of each."""
    found = []
    here = (picture.int() - RED[:, None, None]).abs().amax(0) < 3
    while here.any():
        top, left = here.nonzero()[0].tolist()
        width = int((~torch.cat([here[top, left:], torch.tensor([False])])).nonzero()[0])
        height = int((~torch.cat([here[top:, left], torch.tensor([False])])).nonzero()[0])
        assert here[top : top + height, left : left + width].all()
        here[top : top + height, left : left + width] = False
        found.append((top, left, height, width))
    return found


@pytest.mark.parametrize("number", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("size", [(28, 28), (64, 48), (97, 301), (300, 97), (400, 533), (1080, 1920), (3000, 4000)])
def test_titles_can_be_read_on_a_card_and_at_full_size(number: int, size: tuple[int, int]) -> None:
    """A digit is 9 to 13 of a card's pixels high, and at full size never lower."""
    picture = arrange_panels([("172", red(*size))] * number)
    assert 9 <= title_on_card(picture) <= 13
    rows = title_rows(picture)
    assert rows.stop - rows.start >= 9


@pytest.mark.parametrize("resample", [Image.Resampling.BILINEAR, Image.Resampling.NEAREST])
def test_letters_differ_on_a_card(resample: Image.Resampling) -> None:
    """However the browser reduces the picture: black stays black, and no two digits look the same."""
    seen = []
    for digit in "0123456789":
        drawn = arrange_panels([(digit, red(700, 690))] * 2)
        image = Image.fromarray(drawn.permute(1, 2, 0).numpy())
        card = np.asarray(image.resize((CARD, round(image.height * CARD / image.width)), resample, reducing_gap=3))
        letter = card[:14, :12].astype(int)
        assert letter.min() < 80
        seen.append(letter)
    assert all(np.abs(a - b).max() > 100 for i, a in enumerate(seen) for b in seen[:i])


@pytest.mark.parametrize("number", [1, 2, 3, 5, 6, 12])
@pytest.mark.parametrize("size", [(28, 28), (128, 128), (400, 533), (300, 2000), (2000, 300), (3000, 4000)])
def test_every_panel_can_be_seen_on_a_card(number: int, size: tuple[int, int]) -> None:
    """As many as there were, in their proportions, and at least a third of the card wide."""
    picture = arrange_panels([(str(n), red(*size)) for n in range(number)])
    found = boxes(picture)
    assert len(found) == number
    for _, _, height, width in found:
        assert height / width == pytest.approx(size[0] / size[1], rel=0.02)
        assert width * CARD / picture.shape[2] >= 116
        assert min(height, width) * CARD / picture.shape[2] >= min(50, 116 * size[0] / size[1])


@pytest.mark.parametrize(("side", "factor"), [(1, 175), (8, 22), (28, 6), (60, 3), (175, 1), (256, 1)])
def test_small_panels_are_enlarged_by_whole_factors(side: int, factor: int) -> None:
    """Without smoothing, to about half a card: each pixel becomes a square of one colour."""
    pixels = draw_heat(torch.rand(side, side))
    picture = arrange_panels([("a", pixels)] * 2)
    shown = picture[:, -side * factor :, : side * factor]
    assert torch.equal(shown, pixels.repeat_interleave(factor, 1).repeat_interleave(factor, 2))


def test_large_panels_are_reduced_smoothly() -> None:
    """To a picture four cards wide; black and white pixels become grey, not one of the two."""
    checkered = draw_image((torch.arange(2000)[:, None] + torch.arange(3000)) % 2)
    picture = arrange_panels([("", checkered)])
    assert picture.shape == (3, picture.shape[1], 4 * CARD)
    assert (picture[:, 300].int() - 128).abs().max() <= 3


def test_limits_are_choices() -> None:
    wide = arrange_panels([("a", red(500, 3000))], max_width=3000)
    assert boxes(wide)[0][2:] == (500, 3000)
    low = arrange_panels([("a", red(100, 100))], max_height=150)
    assert boxes(low)[0][2:] == (100, 100)
    assert low.shape[2] == CARD


def test_long_titles_take_several_lines() -> None:
    """Of words, or of parts of a word; none reaches into the next panel, all letters are there."""
    ink = []
    for title in ("a", "apple taken for aquarium fish or for a bowl", "n" * 60):
        picture = arrange_panels([(title, red(200, 200)), ("", red(200, 200))])
        (top, left, _, width), (_, second, _, _) = boxes(picture)
        assert (picture[:, :top, left + width : second] == 255).all()
        assert (picture[:, :top, second:] == 255).all()
        ink.append(int((picture[:, :top] < 128).all(0).sum()))
    one = arrange_panels([("n", red(200, 200)), ("", red(200, 200))])
    letter = int((one[:, : boxes(one)[0][0]] < 128).all(0).sum())
    assert ink[2] == pytest.approx(60 * letter, rel=0.1)
    assert ink[0] < ink[1]


def test_groups_begin_with_a_new_row() -> None:
    picture = arrange_panels([("a", red(50, 50))] * 3, [("b", red(50, 50))] * 2)
    tops = [top for top, *_ in boxes(picture)]
    assert len(set(tops)) == 3
    assert [tops.count(top) for top in sorted(set(tops))] == [2, 1, 2]
