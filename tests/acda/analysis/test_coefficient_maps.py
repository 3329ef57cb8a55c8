"""Scale maps: root mean square of a scale's coefficients at each pixel."""

import pytest
import torch
from torch import Tensor, nn

from acda import ACDAConv2d, fourier_bessel_bases
from acda.analysis import capture_scale_magnitudes, scale_magnitudes


def test_by_hand() -> None:
    """Two atoms, two bases a scale: scale 3 holds 0.3 and 0.5 in one atom, scale 5 is 1 in both, scale 7 is 0."""
    coefficients = torch.zeros(1, 2, 6, 2, 3)
    coefficients[0, 0, 0, 1, 2], coefficients[0, 0, 1, 1, 2] = 0.3, -0.5
    coefficients[0, :, 2:4, 0] = -1.0
    maps = scale_magnitudes(coefficients, fourier_bessel_bases(7, 2))
    assert list(maps) == [3, 5, 7]
    expected = torch.zeros(1, 2, 3)
    expected[0, 1, 2] = ((0.09 + 0.25) / 4) ** 0.5
    torch.testing.assert_close(maps[3], expected)
    torch.testing.assert_close(maps[5], torch.tensor([[[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]]))
    assert not maps[7].any()


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = ACDAConv2d(1, 2, 5, padding=2, num_bases=2)
        self.block = nn.Sequential(nn.ReLU(), ACDAConv2d(2, 1, 3, stride=2, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.first(x))


def test_capture_in_a_network() -> None:
    model = TwoLayers().eval()
    x = torch.randn(2, 1, 8, 9)
    with capture_scale_magnitudes(model) as maps:
        assert maps == {}
        y = model(x)
    assert {name: list(of_layer) for name, of_layer in maps.items()} == {"first": [3, 5], "block.1": [3]}
    assert maps["first"][5].shape == (2, 8, 9)
    assert maps["block.1"][3].shape == (2, 4, 5)
    assert not maps["first"][3].requires_grad
    expected = scale_magnitudes(model.first.coefficients(x), model.first.bases)
    torch.testing.assert_close(maps["first"], expected)
    torch.testing.assert_close(y, model(x))


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_nothing_is_captured_afterwards() -> None:
    model = TwoLayers()
    with capture_scale_magnitudes(model) as maps:
        assert hooks(model) == 2
    model(torch.randn(1, 1, 8, 8))
    assert maps == {}
    assert hooks(model) == 0


def test_hooks_are_removed_after_an_error() -> None:
    model = TwoLayers()
    with pytest.raises(ValueError, match="in_channels=1"), capture_scale_magnitudes(model):
        model(torch.randn(1, 3, 8, 8))
    assert hooks(model) == 0
