"""What ``ACDAConv2d`` refuses: each error names the argument, what was given and what is allowed."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from acda import ACDAConv2d, identity_bases

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
    ({"out_channels": -1}, "out_channels must be at least 1, got -1"),
    ({"kernel_size": 4}, "kernel_size must be odd and square, got 4"),
    ({"kernel_size": (3, 5)}, r"kernel_size must be odd and square, got \(3, 5\)"),
    ({"kernel_size": 1}, "kernel_size must be odd and at least 3, got 1"),
    ({"stride": 0}, "stride must be an int or a pair of ints, each at least 1, got 0"),
    ({"stride": 1.5}, "stride must be an int or a pair of ints, each at least 1, got 1.5"),
    ({"padding": -1}, "padding must be an int or a pair of ints, each at least 0, got -1"),
    ({"padding": "full"}, "padding must be 'same', 'valid', an int or a pair of ints, got 'full'"),
    ({"padding": "same", "stride": 2}, "padding='same' needs stride 1, got stride=2"),
    ({"dilation": (1, 2, 3)}, r"dilation must be an int or a pair .*got \(1, 2, 3\)"),
    ({"groups": 3}, "groups must divide both in_channels=2 and out_channels=4, got 3"),
    ({"groups": 0}, "groups must be at least 1, got 0"),
    ({"padding_mode": "mirror"}, r"padding_mode must be one of \('zeros', .*'circular'\), got 'mirror'"),
    ({"num_atoms": 0}, "num_atoms must be at least 1, got 0"),
    ({"num_bases": 7}, "num_bases=7 is more than scale 3 can carry, at most 6"),
    ({"num_bases": 0}, "num_bases must be at least 1, got 0"),
    ({"scales": (3, 9)}, r"scales must be ascending odd sides from 3 to kernel_size=7, got \(3, 9\)"),
    ({"hidden_channels": 0}, "hidden_channels must be at least 1, got 0"),
    ({"generator_kernel_sizes": (1, 2)}, r"generator_kernel_sizes must be odd, got \(1, 2\)"),
    ({"generator_kernel_sizes": (1, 2, 3)}, r"generator_kernel_sizes must be .*pair .*got \(1, 2, 3\)"),
    ({"initial_adaptivity": -0.1}, "initial_adaptivity must be from 0 to 1, got -0.1"),
    ({"initial_adaptivity": 2}, "initial_adaptivity must be from 0 to 1, got 2"),
    ({"initial_adaptivity": math.nan}, "initial_adaptivity must be from 0 to 1, got nan"),
    (
        {"initial_adaptivity": 0.5, "norm": partial(nn.BatchNorm2d, affine=False)},
        "initial_adaptivity must be 1 if norm has no weight and bias, got 0.5",
    ),
    ({"bases": identity_bases, "scales": (3,)}, r"scales must be None where bases is given, got \(3,\)"),
    ({"bases": lambda side: torch.eye(side)}, r"bases must make a tensor of shape \[K, 7, 7\], got \(7, 7\)"),
    ({"backend": "cuda"}, r"backend must be 'auto' or one of \[.*'reference'.*\], got 'cuda'"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[f"{'-'.join(w[0])}-{w[1][-8:]}" for w in WRONG])
def test_constructor_errors_name_argument_given_and_allowed(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ACDAConv2d(**({"in_channels": 2, "out_channels": 4} | arguments))


@pytest.mark.parametrize("method", ["forward", "coefficients", "atoms", "filters"])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 9, 9), r"x must have shape \[N, 2, H, W\] \(in_channels=2\), got \[1, 3, 9, 9\]"),
        ((9, 9), r"x must have shape \[N, 2, H, W\].*got \[9, 9\]"),
        ((1, 2, 6, 9), r"x must be at least 7×7 pixels for kernel_size=7, padding=\(0, 0\).*got 6×9"),
    ],
)
def test_wrong_inputs_are_refused(method: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(ACDAConv2d(2, 4, 7), method)(torch.zeros(shape))


def test_filters_over_the_limit_are_refused_with_their_size() -> None:
    layer = ACDAConv2d(2, 4, 7, padding=3)
    nbytes = 4 * (4 * 2 * 49) * (5 * 6)
    x = torch.zeros(1, 2, 5, 6)
    assert layer.eval().filters(x, max_bytes=nbytes).nbytes == nbytes
    with pytest.raises(ValueError, match=rf"x of shape \[1, 2, 5, 6\].*{nbytes:,} bytes, max_bytes={nbytes - 1:,}"):
        layer.filters(x, max_bytes=nbytes - 1)
