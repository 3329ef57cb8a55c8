import numpy as np
import pytest

from datamodules.crowd.drawing.shapes import FINE, Figures, Shapes, count_points, draw, make_arc, paint, put
from datamodules.types import Map

BLUE, RED = np.array([[0, 0, 1]], np.float32), np.array([[1, 0, 0]], np.float32)


def figure(x: float, y: float, size: float, nearness: float = 1) -> Figures:
    return Figures(
        middle=np.array([[x, y]], np.float32),
        size=np.array([[size]], np.float32),
        lean=np.zeros((1, 1), np.float32),
        nearness=np.array([nearness], np.float32),
    )


def disc(figures: Figures, colour: Map = RED) -> Shapes:
    return put(figures, make_arc(1, 1), colour, (9, 9), rough=0)


@pytest.mark.parametrize("size", [3, 8, 20, 60])
@pytest.mark.parametrize("shift", [0, 0.25, 0.4])
def test_a_disc_has_its_area_and_its_middle(size: int, shift: float) -> None:
    seen = draw([disc(figure(40 + shift, 50, size))], 100, 80)
    assert seen.shape == (100 * FINE, 80 * FINE)
    rows, columns = np.nonzero(seen)
    assert len(rows) == pytest.approx(np.pi / 4 * (FINE * size) ** 2, rel=0.1 + 0.3 / size)
    # A pixel's middle lies between its points: at half a point for two.
    assert columns.mean() == pytest.approx(FINE * (40 + shift) + (FINE - 1) / 2, abs=0.3)
    assert rows.mean() == pytest.approx(FINE * 50 + (FINE - 1) / 2, abs=0.3)


def test_nearer_figures_hide_farther_ones_in_whatever_order() -> None:
    near, far = disc(figure(30, 30, 20, nearness=2)), disc(figure(30, 30, 10, nearness=1))
    for layers, hidden in (([near, far], 1), ([far, near], 0)):
        counts = [int(count[0]) for count in count_points(draw(layers, 60, 60), layers)]
        assert counts[hidden] == 0
        assert counts[1 - hidden] > 0


def test_later_layers_of_a_figure_cover_earlier_ones() -> None:
    place = figure(30, 30, 20)
    layers = [put(place, make_arc(1, 2), BLUE, (9, 9)), disc(place)]
    lower, upper = (int(count[0]) for count in count_points(draw(layers, 60, 60), layers))
    assert upper == pytest.approx(np.pi / 4 * 40**2, rel=0.1)
    assert lower == pytest.approx(np.pi / 4 * 40**2, rel=0.1)  # what its double height shows above and below


def test_shapes_that_are_not_shown_are_not_drawn() -> None:
    hidden = put(figure(30, 30, 20), make_arc(1, 1), RED, (9, 9), shown=np.array([False]))
    assert not draw([hidden], 60, 60).any()


def test_paint_colours_shapes_alone() -> None:
    layers = [disc(figure(30, 30, 20))]
    image = np.full((60, 60, 3), 0.5, np.float32)
    painted = paint(image, draw(layers, 60, 60), layers, np.zeros((8, 8), np.float32), np.random.default_rng(0))
    distance = np.hypot(*(np.mgrid[:60, :60] - 30))
    assert (painted[distance > 12, :3] == 0.5).all()
    assert (painted[distance > 12, 3] == 0).all()
    inside = painted[distance < 8]
    assert (inside[:, 0] > 0.2).all()
    assert (inside[:, 1:3] == 0).all()
    assert (inside[:, 3] == 20).all()
