"""Prefixed bases ψ over which the filter atoms are decomposed.

Reference:
    Wang, Miao, Hu, Qiu, *Adaptive Convolutions with Per-pixel Dynamic Filter Atom*, ICCV 2021, section 3.2;
    Qiu, Cheng, Calderbank, Sapiro, *DCFNet: Deep Neural Network with Decomposed Convolutional Filters*, ICML 2018.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MAX_ANGULAR_ORDER = 15


@dataclass(frozen=True, order=True)
class _Mode:
    """One radial function J_k(r_kq ρ): sorted by frequency, which is its root."""

    root: float
    angular_order: int


def _retained_modes(side: int) -> list[_Mode]:
    """Modes that a ``side`` × ``side`` grid can carry: those whose *next* root stays below the sampling limit."""
    from scipy.special import jn_zeros

    oversampling = 2.0 if side == 3 else 1.5
    limit = np.pi * side / 2 * oversampling
    modes = []
    for k in range(_MAX_ANGULAR_ORDER + 1):
        roots = jn_zeros(k, side * 2)
        modes += [_Mode(float(root), k) for root, following in pairwise(roots) if following <= limit]
    return sorted(modes)


def _single_scale(side: int) -> NDArray[np.float64]:
    """All retained Fourier–Bessel elements on a ``side`` × ``side`` grid, lowest frequency first, of unit scale."""
    from scipy.special import jv

    offsets = np.arange(side) - (side - 1) / 2
    y, x = np.meshgrid(offsets, offsets, indexing="ij")
    rho = np.hypot(x, y) / (side / 2)
    theta = np.arctan2(y, x)
    elements = []
    for mode in _retained_modes(side):
        k = mode.angular_order
        radial = np.where(rho < 1, jv(k, mode.root * rho), 0.0) / abs(jv(k + 1, mode.root))
        angular = [np.ones_like(theta)] if k == 0 else [np.sqrt(2) * np.cos(k * theta), np.sqrt(2) * np.sin(k * theta)]
        elements += [radial * a for a in angular]
    stacked = np.stack(elements[: side**2 - 1])
    norms = np.linalg.norm(stacked.reshape(len(stacked), -1), axis=1)
    unit: NDArray[np.float64] = stacked / np.sqrt(np.mean(norms**2))
    return unit


def fourier_bessel_bases(
    kernel_size: int,
    num_bases: int = 6,
    scales: Sequence[int] | None = None,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Multi-scale Fourier–Bessel bases ψ, zero-padded to the kernel size.

    Each scale contributes its ``num_bases`` elements of lowest frequency, divided by the root mean square of the
    Euclidean norms of all elements that the scale can carry.

    Args:
        kernel_size: Side l of the filters, odd and at least 3.
        num_bases: Elements m' per scale. A side of 3, 5, 7 can carry 6, 14, 38.
        scales: Sides of the basis sets, odd, ascending, from 3 to ``kernel_size``. Default: every odd side from 3 on.
        dtype: Default: torch's default dtype.
        device: Default: torch's default device.

    Returns:
        Bases ``[K, l, l]``, K = number of scales × ``num_bases``, smallest scale first.

    Raises:
        ValueError: If a side is even or out of range, or a scale cannot carry ``num_bases`` elements.

    Reference:
        Paper section 3.2, Figure 4.

    Example:
        >>> fourier_bessel_bases(7).shape
        torch.Size([18, 7, 7])
    """
    if kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd and at least 3, got {kernel_size}")
    sides = list(range(3, kernel_size + 1, 2)) if scales is None else list(scales)
    if not sides or sides != sorted(set(sides)) or any(s < 3 or s > kernel_size or s % 2 == 0 for s in sides):
        raise ValueError(f"scales must be ascending odd sides from 3 to kernel_size={kernel_size}, got {scales}")
    if num_bases < 1:
        raise ValueError(f"num_bases must be at least 1, got {num_bases}")
    padded = []
    for side in sides:
        elements = _single_scale(side)
        if num_bases > len(elements):
            raise ValueError(f"num_bases={num_bases} is more than scale {side} can carry, at most {len(elements)}")
        margin = (kernel_size - side) // 2
        padded.append(np.pad(elements[:num_bases], [(0, 0), (margin, margin), (margin, margin)]))
    return torch.as_tensor(np.concatenate(padded), dtype=dtype or torch.get_default_dtype(), device=device)


def identity_bases(
    kernel_size: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Tensor:
    """One basis per tap of the filter: coefficients are then the atoms themselves.

    This is the paper's single-level decomposition, in which the generator emits the atoms directly (equation 4).

    Args:
        kernel_size: Side l of the filters, odd.
        dtype: Default: torch's default dtype.
        device: Default: torch's default device.

    Returns:
        Bases ``[l², l, l]``, row by row.

    Raises:
        ValueError: If ``kernel_size`` is even or below 1.
    """
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd and at least 1, got {kernel_size}")
    return torch.eye(kernel_size**2, dtype=dtype, device=device).view(-1, kernel_size, kernel_size)


def basis_scales(bases: Tensor) -> list[int]:
    """Side of the smallest centred square outside of which each basis is zero.

    Args:
        bases: Bases ``[K, l, l]``, l odd.

    Returns:
        K odd sides: which scale each coefficient acts at (1 for a basis that is zero throughout).
    """
    side = bases.shape[-1]
    offset = (torch.arange(side, device=bases.device) - side // 2).abs()
    ring = torch.maximum(offset[:, None], offset[None, :])
    reach = torch.where(bases != 0, ring, 0).flatten(1).amax(dim=1)
    return [2 * int(r) + 1 for r in reach]
