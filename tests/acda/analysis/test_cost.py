"""Costs against the paper's Table 6 and against counts by hand."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from acda import ACDAConv2d, CondConv2d, DeformConv2d, adaptive_conv2d
from acda.analysis import Cost, acda_macs, conv2d_macs, cost, cost_by_layer, generator_macs

TABLE_6 = {
    3: ("5,900.8", "4,073.0", "0.59"),
    5: ("16,386.6", "4,318.7", "1.64"),
    7: ("32,115.2", "4,687.4", "3.21"),  # the paper prints 3.12
}


def millions(count: int, digits: int) -> str:
    return f"{count / 1e6:,.{digits}f}"


@pytest.mark.parametrize(("kernel_size", "row"), TABLE_6.items())
def test_table_6_digit_for_digit(kernel_size: int, row: tuple[str, str, str]) -> None:
    assert millions(conv2d_macs(256, 256, kernel_size, 100, 100), 1) == row[0]
    assert millions(acda_macs(256, 256, kernel_size, 100, 100), 1) == row[1]
    assert millions(cost(nn.Conv2d(256, 256, kernel_size, device="meta"), (1, 256, 100, 100)).parameters, 2) == row[2]
    layer = ACDAConv2d(256, 256, kernel_size, device="meta")
    assert millions(layer.weight.numel(), 2) == "0.39"


@pytest.mark.parametrize("kernel_size", [3, 5, 7])
@pytest.mark.parametrize("generator_kernel_sizes", [(1, 3), (3, 3)])
def test_layer_is_the_sum_of_its_formulas(kernel_size: int, generator_kernel_sizes: tuple[int, int]) -> None:
    layer = ACDAConv2d(
        12, 20, kernel_size, padding="same", generator_kernel_sizes=generator_kernel_sizes, hidden_channels=10
    )
    height, width, num_coefficients = 9, 11, 6 * 6 * (kernel_size // 2)
    biases = 9 * 11 * 20  # the paper counts the bias, cost() does not
    expected = (
        acda_macs(12, 20, kernel_size, height, width)
        - biases
        + generator_macs(12, num_coefficients, kernel_size, height, width, 10, generator_kernel_sizes)
    )
    assert cost(layer, (1, 12, height, width)).macs == expected


def test_counts_by_hand() -> None:
    """Stride and groups: 5×6 outputs; a generator of 1×1 at 10×12 pixels and of 3×3 at 5×6."""
    layer = ACDAConv2d(4, 6, 5, 2, 2, groups=2, num_atoms=3, num_bases=2, hidden_channels=7)
    coefficients = 3 * 4
    generator = 10 * 12 * 4 * 7 + 30 * 7 * coefficients * 9
    convolution = 30 * (coefficients * 25 + 4 * 3 * 25 + 6 * 2 * 3)
    parameters = (6 * 2 * 3 + 6) + 4 * 7 + 7 * coefficients * 9 + 2 * 7 + 2 * coefficients
    counted = cost(layer, (1, 4, 10, 12))
    assert (counted.macs, counted.parameters) == (generator + convolution, parameters)


def test_macs_of_the_backward_pass_are_twice_those_of_the_forward() -> None:
    shapes = ((1, 4, 9, 9), (1, 6, 6, 7, 7), (6, 3, 3), (4, 4, 6))
    x, coefficients, bases, weights = (torch.empty(s, device="meta", requires_grad=True) for s in shapes)
    with FlopCounterMode(display=False) as counter:
        y = adaptive_conv2d(x, coefficients, bases, weights)
        forward = counter.get_total_flops()
        y.sum().backward()
    pixels = 7 * 7
    assert forward == 2 * pixels * (36 * 9 + 4 * 6 * 9 + 4 * 4 * 6)
    assert counter.get_total_flops() == 3 * forward


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        pytest.param(nn.Conv2d(8, 16, 3, padding=1), 8 * 100, id="conv-saves-input"),
        # ReLU saves its output, which is what follows it saves too
        pytest.param(nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU()), (8 + 16) * 100, id="conv-relu"),
        pytest.param(
            nn.Sequential(nn.Conv2d(8, 16, 1), nn.ReLU(), nn.Conv2d(16, 4, 1)), (8 + 16) * 100, id="conv-relu-conv"
        ),
        pytest.param(nn.Linear(10, 3), 8 * 100, id="linear"),
        pytest.param(
            # x; two tanh outputs; and nothing of atoms or of their convolution, which are 49 · 6 and 8 · 6 a pixel
            ACDAConv2d(8, 16, 7, padding=3, norm=None, hidden_channels=20),
            (8 + 20 + 6 * 18) * 100,
            id="acda",
        ),
        pytest.param(
            # before each norm its input, and its two statistics a channel
            ACDAConv2d(8, 16, 7, padding=3, hidden_channels=20),
            (8 + 2 * 20 + 2 * 6 * 18) * 100 + 2 * (20 + 6 * 18),
            id="acda-norm",
        ),
    ],
)
def test_bytes_saved_for_backward(module: nn.Module, expected: int) -> None:
    shape = (8, 10, 10)
    counted = cost(module, (1, *shape)) if not isinstance(module, nn.Linear) else cost(module, shape)
    assert counted.saved_bytes == 4 * expected


def test_saved_bytes_follow_the_dtype() -> None:
    layer = ACDAConv2d(4, 4, 3, padding=1, norm=None)
    half = cost(layer.half(), (1, 4, 10, 10)).saved_bytes
    assert cost(layer.float(), (1, 4, 10, 10)).saved_bytes == 2 * half


@pytest.mark.parametrize("module", [ACDAConv2d(4, 8, 5, padding=2, norm=None), nn.Conv2d(4, 8, 5, padding=2)])
def test_linear_in_pixels_and_images(module: nn.Module) -> None:
    one = cost(module, (1, 4, 10, 12))
    assert one.macs > 0
    four, three = cost(module, (1, 4, 20, 24)), cost(module, (3, 4, 10, 12))
    assert four == Cost(4 * one.macs, one.parameters, 4 * one.saved_bytes)
    assert three == Cost(3 * one.macs, one.parameters, 3 * one.saved_bytes)


def test_sizes_beyond_memory() -> None:
    counted = cost(nn.Conv2d(3, 3, 3, padding=1), (64, 3, 100_000, 100_000))
    assert counted.macs == 64 * 10**10 * 81


def test_measuring_leaves_the_module_as_it_was() -> None:
    layer = ACDAConv2d(2, 2, 3)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    cost(layer, (2, 2, 9, 9))
    cost_by_layer(layer, (2, 2, 9, 9))
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert not layer._forward_hooks
    assert layer.weight.device.type == "cpu"


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Sequential(ACDAConv2d(4, 4, 5, stride=2, padding=2), nn.Conv2d(4, 6, 1)),
    )


def test_cost_by_layer() -> None:
    rows = cost_by_layer(network(), (1, 3, 8, 8))
    assert [(row.name, row.layer, row.output_shape) for row in rows] == [
        ("0", "Conv2d", (1, 4, 8, 8)),
        ("1", "BatchNorm2d", (1, 4, 8, 8)),
        ("3.0", "ACDAConv2d", (1, 4, 4, 4)),
        ("3.1", "Conv2d", (1, 6, 4, 4)),
    ]
    assert rows[0].macs == 64 * 3 * 4 * 9
    assert rows[3].macs == 16 * 4 * 6
    assert [row.parameters for row in rows if row.layer != "ACDAConv2d"] == [3 * 4 * 9 + 4, 8, 4 * 6 + 6]
    whole = cost(network(), (1, 3, 8, 8))
    assert sum(row.macs for row in rows) == whole.macs
    assert sum(row.parameters for row in rows) == whole.parameters


def test_cost_by_layer_of_a_layer() -> None:
    layer = ACDAConv2d(2, 3, 5, padding=2)
    (row,) = cost_by_layer(layer, (1, 2, 6, 7))
    whole = cost(layer, (1, 2, 6, 7))
    assert (row.name, row.macs, row.parameters) == ("", whole.macs, whole.parameters)


def test_cost_by_layer_inside_other_leaves() -> None:
    rows = cost_by_layer(network(), (1, 3, 8, 8), leaves=(nn.Sequential,))
    assert [row.name for row in rows] == [""]
    assert rows[0].macs == cost(network(), (1, 3, 8, 8)).macs


def test_a_layer_that_runs_twice_has_two_rows() -> None:
    conv: Any = nn.Conv2d(2, 2, 1)
    rows = cost_by_layer(nn.Sequential(conv, conv), (1, 2, 5, 5))
    assert [row.macs for row in rows] == [25 * 4, 25 * 4]


def test_network_that_begins_with_a_view() -> None:
    rows = cost_by_layer(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), (2, 3, 2, 2))
    assert [(row.name, row.output_shape, row.macs) for row in rows] == [("1", (2, 5), 2 * 12 * 5)]


def test_comparators_are_one_row_each() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), CondConv2d(4, 4, 3), DeformConv2d(4, 2, 3))
    rows = cost_by_layer(network, (1, 3, 9, 9))
    assert [row.layer for row in rows] == ["Conv2d", "CondConv2d", "DeformConv2d"]
    total = cost(network, (1, 3, 9, 9))
    assert sum(row.macs for row in rows) == total.macs
    assert sum(row.parameters for row in rows) == total.parameters
