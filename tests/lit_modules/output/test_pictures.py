import pytest
import torch

from lit_modules.callbacks.coefficient_maps import draw_coefficients
from lit_modules.output import draw_heat, draw_image, join_row, stack_rows


def test_grey_runs_from_black_to_white() -> None:
    picture = draw_image(torch.tensor([[-1.0, 0.0, 1.0]]))
    assert picture.dtype == torch.uint8
    assert picture[:, 0].tolist() == [[0, 128, 255]] * 3


def test_range_can_be_given_and_is_clamped() -> None:
    assert draw_image(torch.tensor([[-5.0, 0.25, 9.0]]), low=0, high=1)[0, 0].tolist() == [0, 64, 255]


def test_heat_ends_in_the_colours_of_viridis() -> None:
    picture = draw_heat(torch.tensor([[0.0, 0.5, 1.0]]))
    assert picture.permute(1, 2, 0)[0].tolist() == [[68, 1, 84], [33, 144, 141], [253, 231, 37]]


def test_constant_and_nan_maps_can_be_drawn() -> None:
    assert draw_heat(torch.zeros(2, 2)).shape == (3, 2, 2)
    assert draw_heat(torch.full((2, 2), torch.nan)).shape == (3, 2, 2)


@pytest.mark.parametrize(("side", "height"), [(8, 160), (100, 200), (300, 300)])
def test_small_panels_are_enlarged_by_whole_factors(side: int, height: int) -> None:
    picture = join_row([("a", draw_image(torch.rand(side, side))), ("b", draw_image(torch.rand(side, side)))])
    assert picture.shape[1] == height + 14
    assert picture.shape[2] == 2 * height + 4


def test_rows_of_different_width_stack() -> None:
    one, two = (join_row([(str(n), draw_image(torch.rand(160, 160)))] * n) for n in (1, 2))
    assert stack_rows([one, two]).shape == (3, one.shape[1] + two.shape[1] + 4, two.shape[2])


def test_coefficient_picture_shows_each_image_and_scale() -> None:
    maps = {3: torch.rand(2, 5, 5), 7: torch.rand(2, 5, 5)}
    picture = draw_coefficients(torch.rand(2, 3, 20, 20), maps)
    one = draw_coefficients(torch.rand(1, 3, 20, 20), {scale: m[:1] for scale, m in maps.items()})
    assert picture.shape[1] == 2 * one.shape[1] + 4
