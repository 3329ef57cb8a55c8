"""The Fourier–Bessel bases by their formula, computed here without the package."""

import math
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from scipy.optimize import brentq
from scipy.special import jv
from torch import Tensor

from acda import basis_scales, fourier_bessel_bases, identity_bases

RETAINED = {3: 6, 5: 14, 7: 38}


def bessel_roots(order: int, limit: float) -> list[float]:
    """Positive roots of J_order up to ``limit`` and the next one, by sign changes."""
    roots: list[float] = []
    step, t = 0.05, max(order, 1) * 0.5
    while not roots or roots[-1] <= limit:
        if jv(order, t) * jv(order, t + step) < 0:
            roots.append(float(brentq(lambda r: jv(order, r), t, t + step)))
        t += step
    return roots


def retained(side: int) -> list[tuple[float, int]]:
    """(root, angular order) of the radial functions that a side can carry, lowest frequency first."""
    limit = math.pi * side / 2 * (2.0 if side == 3 else 1.5)
    modes = []
    for order in range(16):
        roots = bessel_roots(order, limit)
        modes += [(root, order) for root, following in pairwise(roots) if following <= limit]
    return sorted(modes)


def pixels(side: int) -> Iterator[tuple[int, int, float, float]]:
    """Row, column, ρ and θ of each pixel."""
    for i in range(side):
        for j in range(side):
            dy, dx = i - side // 2, j - side // 2
            yield i, j, math.hypot(dx, dy) / (side / 2), math.atan2(dy, dx)


def elements(side: int) -> list[list[Tensor]]:
    """For each radial function its one or two elements, before normalisation."""
    out = []
    for root, order in retained(side):
        waves = [lambda t: 1.0] if order == 0 else [lambda t, k=order: math.sqrt(2) * math.cos(k * t)]
        waves += [] if order == 0 else [lambda t, k=order: math.sqrt(2) * math.sin(k * t)]
        pair = []
        for wave in waves:
            image = torch.zeros(side, side, dtype=torch.float64)
            for i, j, rho, theta in pixels(side):
                if rho < 1:
                    image[i, j] = jv(order, root * rho) / abs(jv(order + 1, root)) * wave(theta)
            pair.append(image)
        out.append(pair)
    return out


def test_roots_of_the_lowest() -> None:
    """The oracle of this file has the roots that are known: J0, J1, J2, J0."""
    assert [round(root, 3) for root, _ in retained(3)] == [2.405, 3.832, 5.136, 5.520]
    assert [(round(root, 3), k) for root, k in retained(7)[:4]] == [(2.405, 0), (3.832, 1), (5.136, 2), (5.520, 0)]


@pytest.mark.parametrize(("side", "count"), RETAINED.items())
def test_number_that_a_side_can_carry(side: int, count: int) -> None:
    assert fourier_bessel_bases(side, count, [side]).shape == (count, side, side)
    with pytest.raises(ValueError, match=rf"num_bases={count + 1} .*scale {side} can carry, at most {count}$"):
        fourier_bessel_bases(side, count + 1, [side])


@pytest.mark.parametrize(("side", "count"), RETAINED.items())
def test_elements_by_the_formula(side: int, count: int) -> None:
    """Lowest frequency first; the two waves of one order in either order and either sign of θ."""
    ours = fourier_bessel_bases(side, count, [side], dtype=torch.float64)
    expected = elements(side)
    flat = [e for group in expected for e in group][:count]
    scale = math.sqrt(sum(float(e.square().sum()) for e in flat) / count)
    position = 0
    for group in expected:
        taken = ours[position : position + len(group)]
        for image in taken:
            likeness = [abs(float((image * e / scale).sum() / image.norm() / (e / scale).norm())) for e in group]
            best = group[likeness.index(max(likeness))] / scale
            sign = torch.sign((image * best).sum())
            torch.testing.assert_close(image, sign * best, rtol=1e-9, atol=1e-9)
        position += len(taken)
    assert position == count


@pytest.mark.parametrize(("side", "count"), RETAINED.items())
def test_root_mean_square_norm_is_one(side: int, count: int) -> None:
    bases = fourier_bessel_bases(side, count, [side], dtype=torch.float64)
    assert bases.square().sum().item() / count == pytest.approx(1, abs=1e-12)


def test_scales_are_stacked_and_zero_padded() -> None:
    bases = fourier_bessel_bases(7, 4, dtype=torch.float64)
    assert bases.shape == (12, 7, 7)
    for i, side in enumerate((3, 5, 7)):
        margin = (7 - side) // 2
        block = bases[4 * i : 4 * i + 4]
        inside = block[:, margin : 7 - margin, margin : 7 - margin]
        assert torch.equal(inside, fourier_bessel_bases(side, 4, [side], dtype=torch.float64))
        assert block.count_nonzero() == inside.count_nonzero()


def test_chosen_scales() -> None:
    full = fourier_bessel_bases(7)
    assert torch.equal(fourier_bessel_bases(7, scales=(3, 7)), torch.cat([full[:6], full[12:]]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_dtype_and_device(dtype: torch.dtype) -> None:
    for bases in (fourier_bessel_bases(5, dtype=dtype, device="meta"), identity_bases(5, dtype=dtype, device="meta")):
        assert (bases.dtype, bases.device.type) == (dtype, "meta")
    assert fourier_bessel_bases(3).dtype == identity_bases(3).dtype == torch.get_default_dtype()


def test_identity_has_one_tap_each() -> None:
    bases = identity_bases(3)
    assert bases.shape == (9, 3, 3)
    for i, basis in enumerate(bases):
        assert basis.sum() == basis[i // 3, i % 3] == 1


def test_basis_scales() -> None:
    assert basis_scales(fourier_bessel_bases(7)) == [3] * 6 + [5] * 6 + [7] * 6
    assert basis_scales(identity_bases(3)) == [3, 3, 3, 3, 1, 3, 3, 3, 3]
    assert basis_scales(torch.zeros(1, 5, 5)) == [1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be odd and at least 3, got 4"),
        ({"kernel_size": 1}, "kernel_size must be odd and at least 3, got 1"),
        ({"kernel_size": 7, "scales": (3, 4)}, r"scales must be ascending odd .* 3 to kernel_size=7, got \(3, 4\)"),
        ({"kernel_size": 5, "scales": (3, 7)}, r"scales must .* 3 to kernel_size=5, got \(3, 7\)"),
        ({"kernel_size": 5, "scales": (5, 3)}, r"scales must be ascending .*got \(5, 3\)"),
        ({"kernel_size": 5, "scales": ()}, r"scales must .*got \(\)"),
        ({"kernel_size": 5, "num_bases": 0}, "num_bases must be at least 1, got 0"),
        ({"kernel_size": 7, "num_bases": 7}, "num_bases=7 is more than scale 3 can carry, at most 6"),
    ],
)
def test_errors(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fourier_bessel_bases(**arguments)


@pytest.mark.parametrize("kernel_size", [0, 2])
def test_identity_error(kernel_size: int) -> None:
    with pytest.raises(ValueError, match=f"kernel_size must be odd and at least 1, got {kernel_size}"):
        identity_bases(kernel_size)
