"""What all comparators are given: a factory's arguments, shown as attributes and in their repr, or refused."""

import inspect
from typing import Any

import pytest
import torch
from torch import nn

from acda import CondConv2d, ConvFactory, DDFConv2d, DeformConv2d, DynamicConv2d, DynamicFilterConv2d, Involution2d
from tests.support.comparators import every_comparator


@every_comparator
def test_arguments_are_a_factorys_then_named_options_with_defaults(layer_class: type[nn.Module]) -> None:
    asked = list(inspect.signature(ConvFactory.__call__).parameters)[1:]
    parameters = list(inspect.signature(layer_class).parameters.values())
    assert [p.name for p in parameters[: len(asked)]] == asked
    assert [p.default for p in parameters[3:6]] == [1, 0, True]
    options = parameters[len(asked) :]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in options)
    assert [p.name for p in options[-2:]] == ["device", "dtype"]


@every_comparator
def test_attributes_of_conv2d(layer_class: type[nn.Module]) -> None:
    layer, conv = layer_class(4, 8, 5, (2, 1), (1, 3)), nn.Conv2d(4, 8, 5, (2, 1), (1, 3))
    for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding"):
        assert getattr(layer, name) == getattr(conv, name)


@every_comparator
def test_repr_leaves_out_defaults(layer_class: type[nn.Module]) -> None:
    plain = layer_class(2, 4, 3).extra_repr()
    assert plain == "2, 4, kernel_size=3"
    odd = layer_class(2, 4, 3, 2, 1, False).extra_repr()
    assert odd == "2, 4, kernel_size=3, stride=(2, 2), padding=(1, 1), bias=False"


def test_repr_has_options() -> None:
    assert "num_experts=3" in repr(CondConv2d(2, 4, 3, num_experts=3))
    assert "initial_temperature=10.0, anneal_epochs=5" in repr(
        DynamicConv2d(2, 4, 3, initial_temperature=10, anneal_epochs=5)
    )
    assert "max_bytes=10000000" in repr(DynamicFilterConv2d(2, 4, 3, max_bytes=10000000))
    assert "channel_ratio=0.5" in repr(DDFConv2d(2, 4, 3, channel_ratio=0.5))
    assert "reduction=2" in repr(Involution2d(2, 4, 3, reduction=2))


@every_comparator
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"out_channels": -1}, "out_channels must be at least 1, got -1"),
        ({"kernel_size": (3, 5)}, r"kernel_size must be .*square, got \(3, 5\)"),
        ({"kernel_size": 0}, "kernel_size must be an int or a pair of ints, each at least 1, got 0"),
        ({"stride": 0}, "stride must be an int or a pair of ints, each at least 1, got 0"),
        ({"padding": -1}, "padding must be an int or a pair of ints, each at least 0, got -1"),
        ({"padding": "full"}, "padding must be 'same', 'valid', an int or a pair of ints, got 'full'"),
        ({"padding": "same", "stride": 2}, "padding='same' needs stride 1, got stride=2"),
    ],
    ids=str,
)
def test_constructor_errors_name_argument_given_and_allowed(
    layer_class: type[nn.Module], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        layer_class(**({"in_channels": 2, "out_channels": 4, "kernel_size": 3} | arguments))


@pytest.mark.parametrize("layer_class", [CondConv2d, DynamicConv2d, DeformConv2d])
def test_same_padding_of_an_even_kernel_is_refused(layer_class: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="padding='same' needs an odd kernel_size, got 2"):
        layer_class(2, 4, 2, padding="same")


@every_comparator
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 9, 9), r"x must have shape \[N, 2, H, W\] \(in_channels=2\), got \[1, 3, 9, 9\]"),
        ((9, 9), r"x must have shape \[N, 2, H, W\].*got \[9, 9\]"),
        ((1, 2, 4, 9), r"x must be at least 5×5 pixels for kernel_size=5, padding=\(0, 0\).*got 4×9"),
    ],
)
def test_wrong_inputs_are_refused(layer_class: type[nn.Module], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer_class(2, 4, 5)(torch.zeros(shape))
