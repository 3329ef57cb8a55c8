"""What all comparators cost: multiply-accumulates by each one's formula, and parameters of a wide layer."""

import pytest
from torch import nn

from acda import CondConv2d, DDFConv2d, DeformConv2d, DynamicConv2d, DynamicFilterConv2d, Involution2d
from acda.analysis import cost
from tests.support.comparators import every_comparator


def small_macs(layer_class: type[nn.Module]) -> int:
    """Multiply-accumulates at 6 → 8 channels, l = 3, 5×4 pixels from 10×8, 2 images, by each layer's formula."""
    c, o, taps, pixels, images, whole = 6, 8, 9, 5 * 4, 2, 10 * 8
    conv = pixels * o * c * taps
    of_one_image = {
        CondConv2d: conv + c * 8 + 8 * (o * c * taps + o),
        DynamicConv2d: conv + c * 4 + 4 * 4 + 4 * (o * c * taps + o),
        DynamicFilterConv2d: conv + whole * c * 64 + pixels * 64 * 9 * o * c * taps,
        DDFConv2d: whole * c * o + pixels * o * taps + o * 4 + 4 * o * taps + pixels * o * taps,
        Involution2d: whole * c * o + pixels * (o * 4 + 4 * taps) + pixels * o * taps,
        DeformConv2d: conv + pixels * c * taps * 3 * taps,
    }
    return images * of_one_image[layer_class]


@every_comparator
def test_cost(layer_class: type[nn.Module]) -> None:
    layer = layer_class(6, 8, 3, 2, 1)
    counted = cost(layer, (2, 6, 10, 8))
    assert counted.macs == small_macs(layer_class)
    assert counted.parameters == sum(p.numel() for p in layer.parameters())
    assert counted.saved_bytes > 0
    assert cost(layer_class(256, 256, 7, padding=3, device="meta"), (1, 256, 14, 14)).macs > 0


@pytest.mark.parametrize(
    ("layer_class", "millions"),
    [
        (CondConv2d, 25.694),
        (DynamicConv2d, 12.863),
        (DynamicFilterConv2d, 1852.916),
        (DDFConv2d, 0.679),
        (Involution2d, 0.068),
        (DeformConv2d, 5.056),
    ],
)
def test_parameters_of_a_wide_layer(layer_class: type[nn.Module], millions: float) -> None:
    layer = layer_class(256, 256, 7, padding=3, device="meta")
    assert sum(p.numel() for p in layer.parameters()) / 1e6 == pytest.approx(millions, abs=1e-3)
