import pytest
import torch
from torchvision.transforms.v2.functional import normalize

from lit_modules.output import (
    draw_dots,
    draw_heat,
    draw_image,
    draw_photograph,
    overlay,
    spread_cells,
)


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


def normalised(image: torch.Tensor) -> torch.Tensor:
    return normalize(image, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def test_photographs_are_shown_in_their_own_colours() -> None:
    pixels = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
    assert torch.equal(draw_photograph(normalised(pixels / 255), max_height=20), pixels)


def test_photographs_normalised_otherwise_are_shown_in_their_own_colours() -> None:
    pixels = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
    mean, std = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.3, 0.2, 0.5])
    image = normalize(pixels / 255, mean.tolist(), std.tolist())
    assert torch.equal(draw_photograph(image, 20, mean, std), pixels)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_images_of_other_channels_are_shown_grey_in_their_own_range(channels: int) -> None:
    """Values are small as in 12 of 16 bits; each channel was normalised by numbers of its own."""
    values = torch.tensor([[0.01, 0.02], [0.04, 0.05]])
    mean, std = torch.linspace(0.1, 0.5, channels), torch.linspace(0.3, 0.7, channels)
    image = (values - mean[:, None, None]) / std[:, None, None]
    picture = draw_photograph(image, 10, mean, std)
    assert picture.tolist() == [[[0, 64], [191, 255]]] * 3


def test_high_photographs_are_reduced() -> None:
    picture = draw_photograph(normalised(torch.full((3, 90, 60), 0.2)), max_height=30)
    assert picture.shape == (3, 30, 20)
    assert (picture == 51).all()


@pytest.mark.parametrize("shown", [(48, 64), (47, 61), (24, 31), (12, 16)])
def test_map_lies_over_the_part_of_the_image_it_was_made_of(shown: tuple[int, int]) -> None:
    """The image has 47×61 pixels, the map 12×16 cells of 4; the largest one is centred at pixel 29.5, 41.5."""
    cells = torch.zeros(12, 16)
    cells[7, 10] = 1
    values = spread_cells(cells, 4, (47, 61), torch.zeros(3, *shown))
    assert values.shape == shown
    mass = values / values.sum()
    y, x = ((torch.arange(n) + 0.5) * side / n - 0.5 for n, side in zip(shown, (47, 61), strict=True))
    assert (mass.sum(1) * y).sum().item() == pytest.approx(29.5, abs=1)
    assert (mass.sum(0) * x).sum().item() == pytest.approx(41.5, abs=1)


def test_picture_shows_through_where_the_map_is_zero() -> None:
    picture = torch.randint(0, 256, (3, 10, 10), dtype=torch.uint8)
    values = torch.zeros(10, 10)
    values[2, 3] = 5
    laid = overlay(picture, values)
    assert (laid != picture).any(0).nonzero().tolist() == [[2, 3]]
    assert torch.equal(overlay(picture, torch.zeros(10, 10)), picture)


def test_dots_mark_points_given_as_x_and_y() -> None:
    marked = draw_dots(torch.zeros(3, 20, 30, dtype=torch.uint8), torch.tensor([[25.0, 4.0]]))
    rows, columns = marked[0].nonzero().T
    assert rows.float().mean() == 4
    assert columns.float().mean() == 25
    assert draw_dots(torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(0, 2)).sum() == 0
