import pytest
import torch

from lit_modules.metrics import rgb_to_y


def test_y_of_the_primaries() -> None:
    colours = torch.tensor([[0, 1, 1, 0, 0], [0, 1, 0, 1, 0], [0, 1, 0, 0, 1]], dtype=torch.float64)[:, None]
    expected = torch.tensor([[[16, 235, 81.481, 144.553, 40.966]]], dtype=torch.float64)
    torch.testing.assert_close(rgb_to_y(colours), expected)
    torch.testing.assert_close(rgb_to_y(colours, unit_range=True), expected / 255)
    assert rgb_to_y(torch.rand(2, 4, 3, 5, 6)).shape == (2, 4, 1, 5, 6)


@pytest.mark.parametrize("shape", [(3,), (4, 8, 8), (3, 8)])
def test_y_of_other_than_rgb_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"image must be RGB of shape \[..., 3, H, W\], got \["):
        rgb_to_y(torch.zeros(shape))
