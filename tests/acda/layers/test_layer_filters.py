"""The layer's output is its per-pixel filters applied pixel by pixel, whatever its geometry."""

import random
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from acda import ACDAConv2d, identity_bases
from tests.support.oracle import Geometry, apply_filters, compose_filters

Size = tuple[int, int]


class Case(NamedTuple):
    kernel_size: int = 3
    geometry: Geometry = Geometry(padding=1)
    groups: int = 1
    padding_mode: str = "zeros"
    size: Size = (7, 8)
    channels: tuple[int, int] = (4, 6)
    images: int = 2

    def arguments(self) -> dict[str, Any]:
        common = {"groups": self.groups, "padding_mode": self.padding_mode}
        return {"kernel_size": self.kernel_size, **self.geometry._asdict(), **common}


SWEEP = [
    *(Case(k, Geometry(padding=k // 2)) for k in (3, 5, 7)),
    *(Case(5, Geometry(stride=s, padding=2), size=(9, 10)) for s in (1, 2, 3, (2, 1))),
    *(Case(3, Geometry(stride=2, padding=p, dilation=d)) for d in (1, 2, (1, 3)) for p in (1, 2, 3)),
    *(Case(5, Geometry(padding=p)) for p in (0, "same", "valid", 4, 7, (0, 3), (5, 1))),
    *(Case(3, Geometry(padding=p, dilation=(2, 3))) for p in ("same", "valid", (1, 4))),
    *(Case(3, groups=g, channels=c) for g, c in ((2, (4, 6)), (4, (4, 4)), (4, (4, 8)), (3, (3, 6)))),
    *(Case(5, Geometry(2, 2), padding_mode=m) for m in ("reflect", "replicate", "circular")),
    *(Case(3, Geometry(1, (2, 0), 2), padding_mode=m) for m in ("reflect", "replicate", "circular")),
    *(Case(5, Geometry(padding="same"), padding_mode=m, groups=2) for m in ("reflect", "replicate", "circular")),
    *(Case(k, Geometry(s, k // 2), size=(1, 1)) for k in (3, 7) for s in (1, 2)),
    *(Case(7, Geometry(s, 3), size=n) for s in (1, 2, 3) for n in ((2, 3), (1, 5), (4, 1))),
    *(Case(5, Geometry(stride=2, padding=2), size=n) for n in ((5, 5), (6, 6), (5, 6), (11, 7))),
    Case(3, Geometry(), size=(3, 3)),
    Case(7, Geometry(), size=(7, 9)),
    Case(5, channels=(1, 1), images=1, geometry=Geometry(padding=2)),
]


def random_case(draw: random.Random) -> Case:
    """A geometry in which at least one window fits."""
    while True:
        kernel_size, groups = draw.choice([3, 5, 7]), draw.choice([1, 1, 2, 3])
        geometry = Geometry(
            stride=(draw.randint(1, 3), draw.randint(1, 3)),
            padding=(draw.randint(0, 5), draw.randint(0, 5)),
            dilation=(draw.randint(1, 3), draw.randint(1, 3)),
        )
        size = (draw.randint(1, 12), draw.randint(1, 12))
        mode = draw.choice(["zeros", "zeros", "reflect", "replicate", "circular"])
        _, padding, dilation = geometry.pairs(kernel_size)
        spans = [d * (kernel_size - 1) + 1 for d in dilation]
        fits = all(n + 2 * p >= span for n, p, span in zip(size, padding, spans, strict=True))
        # a border can be continued by no more than there is to continue it with
        if fits and (mode == "zeros" or all(p < n for p, n in zip(padding, size, strict=True))):
            channels = (groups * draw.randint(1, 3), groups * draw.randint(1, 3))
            return Case(kernel_size, geometry, groups, mode, size, channels, draw.randint(1, 3))


RANDOM = [random_case(random.Random(seed)) for seed in range(40)]


def make(case: Case, **options: Any) -> tuple[ACDAConv2d, Tensor]:
    """A layer in float64 with every parameter drawn, norms in running mode with other than unit statistics."""
    options = {"num_atoms": 2, "num_bases": 3, "hidden_channels": 5} | options
    layer = ACDAConv2d(*case.channels, **case.arguments(), dtype=torch.float64, **options).eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return layer, torch.randn(case.images, case.channels[0], *case.size, dtype=torch.float64)


def check(case: Case, **options: Any) -> None:
    layer, x = make(case, **options)
    with torch.no_grad():
        y, coefficients, filters = layer(x), layer.coefficients(x), layer.filters(x)
        expected = apply_filters(x, filters, case.geometry, case.padding_mode) + layer.bias.view(-1, 1, 1)
        conv = nn.Conv2d(*case.channels, **case.arguments(), dtype=torch.float64)
        shape = conv(x).shape
    assert y.shape == shape
    assert coefficients.shape[3:] == shape[2:]
    assert coefficients.shape[:3] == (case.images, layer.num_atoms, layer.bases.shape[0])
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", SWEEP, ids=str)
def test_sweep(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("case", RANDOM, ids=range(len(RANDOM)))
def test_random_sweep(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("options", [{"norm": None}, {"num_atoms": 1}, {"generator_kernel_sizes": (3, 3)}], ids=str)
def test_options(options: dict[str, Any]) -> None:
    check(Case(5, Geometry(stride=2, padding=(0, 2))), **options)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_identity_bases(kernel_size: int) -> None:
    """The generator emits the atoms themselves."""
    case = Case(kernel_size, Geometry(stride=2, padding=kernel_size // 2))
    check(case, bases=identity_bases)
    layer, x = make(case, bases=identity_bases)
    assert torch.equal(layer.atoms(x).flatten(2, 3), layer.coefficients(x))


def test_atoms_and_filters_by_definition() -> None:
    layer, x = make(Case(7, Geometry(2, 3), groups=2))
    coefficients = layer.coefficients(x)
    atoms = compose_filters(coefficients, layer.bases, torch.eye(2, dtype=torch.float64).view(2, 1, 2))[:, :, 0]
    torch.testing.assert_close(layer.atoms(x), atoms, rtol=1e-12, atol=1e-12)
    filters = compose_filters(coefficients, layer.bases, layer.weight)
    assert filters.shape == (2, 6, 2, 7, 7, 4, 4)
    torch.testing.assert_close(layer.filters(x), filters, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "case",
    [
        Case(7, Geometry(stride=2, padding=3), size=(12, 13)),
        Case(5, Geometry(stride=3, padding=0), size=(13, 11)),
        Case(3, Geometry(stride=(2, 1), padding=(0, 1), dilation=(3, 2)), size=(15, 9)),
        Case(3, Geometry(stride=2, padding=2, dilation=2), size=(8, 9), padding_mode="reflect"),
    ],
    ids=str,
)
@pytest.mark.parametrize("generator_kernel_sizes", [(1, 3), (3, 3), (1, 1), (3, 5)])
def test_coefficients_are_read_at_the_centre_of_each_window(
    case: Case, generator_kernel_sizes: tuple[int, int]
) -> None:
    """With stride and without padding they are those of the full-resolution layer, picked at the windows' centres."""
    layer, x = make(case, generator_kernel_sizes=generator_kernel_sizes)
    full_case = Case(case.kernel_size, Geometry(padding="same"), padding_mode=case.padding_mode)
    full, _ = make(full_case, generator_kernel_sizes=generator_kernel_sizes)
    full.load_state_dict(layer.state_dict())
    coefficients = layer.coefficients(x)
    stride, padding, dilation = case.geometry.pairs(case.kernel_size)
    centres = [
        torch.arange(count) * s + d * (case.kernel_size // 2) - p
        for count, s, d, p in zip(coefficients.shape[3:], stride, dilation, padding, strict=True)
    ]
    expected = full.coefficients(x)[:, :, :, centres[0]][..., centres[1]]
    # where the second convolution pads less than it would around the whole image, it reads hidden features instead
    torch.testing.assert_close(coefficients, expected, rtol=1e-10, atol=1e-10)
