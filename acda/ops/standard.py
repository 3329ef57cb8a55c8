"""The layers' operators in terms that every compiler knows, for file formats that hold no others, such as ONNX.

They need more memory than the originals, some more time, and take any stride, padding, dilation and groups, and sizes
that are not known yet.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from acda.ops import registration


def standard_operators() -> dict[Any, Callable[..., Any]]:
    """How an exported program's operators are made of standard ones.

    Returns:
        A table for :meth:`torch.export.ExportedProgram.run_decompositions`: the adaptive convolution, and what the
        comparators use that ONNX cannot express with sizes that are not known yet.

    Example:
        >>> program = torch.export.export(layer, (x,)).run_decompositions(standard_operators())
    """
    table: dict[Any, Callable[..., Any]] = dict.fromkeys(registration.operators, adaptive_conv2d)
    table[torch.ops.aten.conv2d.default] = conv2d
    return table


def adaptive_conv2d(
    x: Tensor,
    coefficients: Tensor,
    bases: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Compute the adaptive convolution from plain ones.

    Each channel is convolved with each basis; ``[C, K] × [K, m]`` at each pixel and a 1×1 convolution follow.

    Args:
        x: ``[N, C, H, W]``.
        coefficients: ``[N, m, K, H_out, W_out]``.
        bases: ``[K, l, l]``.
        weight: ``[O, C / groups, m]``.
        bias: ``[O]``, or None.
        stride: Pixels between windows, vertical and horizontal.
        padding: Zeros on each side, likewise.
        dilation: Pixels between taps, likewise.
        groups: Groups of channels.

    Returns:
        ``[N, O, H_out, W_out]``.
    """
    filtered = F.conv2d(x.flatten(0, 1).unsqueeze(1), bases.unsqueeze(1), None, stride, padding, dilation)
    filtered = torch.unflatten(filtered, 0, (-1, x.shape[1]))  # [N, C, K, H_out, W_out]
    z = filtered.permute(0, 3, 4, 1, 2) @ coefficients.permute(0, 3, 4, 2, 1)
    z = z.permute(0, 3, 4, 1, 2).flatten(1, 2)  # [N, C·m, H_out, W_out]
    return F.conv2d(z, weight.flatten(1)[:, :, None, None], bias, groups=groups)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int | torch.SymInt = 1,
) -> Any:
    """Convolve with as many groups as there are images: a matrix product for each.

    Args:
        x: ``[1, N·C, H, W]``.
        weight: ``[N·O, C, l, l]``.
        bias: ``[N·O]``, or None.
        stride: Pixels between windows, vertical and horizontal.
        padding: Zeros on each side, likewise.
        dilation: Pixels between taps, likewise.
        groups: N. Where it is a plain number nothing is done.

    Returns:
        ``[1, N·O, H_out, W_out]``.
    """
    if isinstance(groups, int):
        return NotImplemented  # it is a standard operator
    channels, side = weight.shape[1], weight.shape[2:]
    taps = torch.eye(side.numel(), dtype=x.dtype, device=x.device).view(-1, 1, *side)
    patches = F.conv2d(x.squeeze(0).unsqueeze(1), taps, None, stride, padding, dilation)  # [N·C, l², H_out, W_out]
    matrices = weight.reshape(groups, -1, channels * side.numel())
    columns = patches.reshape(groups, channels * side.numel(), -1)
    y: Tensor = (matrices @ columns).reshape(1, weight.shape[0], *patches.shape[2:])
    return y if bias is None else y + bias.view(1, -1, 1, 1)
