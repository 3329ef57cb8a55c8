"""The network Φ that reads the input around each pixel and emits the coefficients of its filter atoms."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from acda.layers.convolve import convolve, convolve_tanh
from acda.layers.factory import NormFactory
from acda.layers.norm_tanh import norm_tanh
from acda.layers.observed import is_observed
from acda.ops.geometry import Geometry, PaddingMode, pair
from acda.ops.subsampled import mend
from acda.ops.tracing import is_traced

# Variance of tanh(g) for a standard normal g: ∫ tanh(g)² φ(g) dg.
TANH_VARIANCE = 0.39429449


class CoefficientGenerator(nn.Module):
    """Generator Φ: convolution → norm → tanh → convolution → norm → tanh.

    It emits coefficients at the resolution of the convolution's output: the second convolution takes the stride,
    and its padding aligns it with the centres of the windows, whatever the input's size.

    Args:
        in_channels: Channels c' of the input.
        num_atoms: Atoms m per pixel.
        num_bases: Bases K, all scales together.
        geometry: Where the windows of the adaptive convolution lie.
        hidden_channels: Width d between the two convolutions.
        kernel_sizes: Sides l_a and l_b of the two, odd.
        norm: Makes the norm after each convolution from its channels; None for none. The convolutions have a bias
            only where no norm follows.
        padding_mode: How the input and the hidden features continue beyond the border.
        device: Where the parameters lie.
        dtype: Their type.
        initial_adaptivity: Share, from 0 to 1, of the variance that differs from pixel to pixel before the last tanh
            at first. The rest is drawn for each coefficient, by the bias, and is a filter that all pixels share.

    Raises:
        ValueError: If a kernel size is even, or ``initial_adaptivity`` is out of range, or below 1 with a norm that has
            no weight and bias.

    Reference:
        Paper section 3.2, Figure 4; widths from section 4.4.
    """

    def __init__(
        self,
        in_channels: int,
        num_atoms: int,
        num_bases: int,
        geometry: Geometry,
        hidden_channels: int = 64,
        kernel_sizes: Sequence[int] = (1, 3),
        norm: NormFactory | None = nn.BatchNorm2d,
        padding_mode: PaddingMode = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        initial_adaptivity: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 <= initial_adaptivity <= 1:
            raise ValueError(f"initial_adaptivity must be from 0 to 1, got {initial_adaptivity}")
        first, second = pair(kernel_sizes, "generator_kernel_sizes", 1)
        if first % 2 == 0 or second % 2 == 0:
            raise ValueError(f"generator_kernel_sizes must be odd, got {kernel_sizes}")
        self.num_atoms = num_atoms
        self.num_bases = num_bases
        self.initial_adaptivity = initial_adaptivity
        # The window of output i is centred at input i·stride + inset; the second convolution must be so too.
        insets = [d * (geometry.kernel_size // 2) - p for d, p in zip(geometry.dilation, geometry.padding, strict=True)]
        margins = [second // 2 - inset for inset in insets]
        self.crop = [max(0, -margin) for margin in margins]
        out_channels = num_atoms * num_bases
        self.conv1 = nn.Conv2d(
            in_channels,
            hidden_channels,
            first,
            padding=first // 2,
            bias=norm is None,
            padding_mode=padding_mode,
            device=device,
            dtype=dtype,
        )
        self.norm1 = nn.Identity() if norm is None else norm(hidden_channels).to(device=device, dtype=dtype)
        self.conv2 = nn.Conv2d(
            hidden_channels,
            out_channels,
            second,
            stride=geometry.stride,
            padding=(max(0, margins[0]), max(0, margins[1])),
            bias=norm is None,
            padding_mode=padding_mode,
            device=device,
            dtype=dtype,
        )
        mend(self.conv2)
        self.norm2 = nn.Identity() if norm is None else norm(out_channels).to(device=device, dtype=dtype)
        if initial_adaptivity < 1 and any(each is None for each in self._scales_and_shifts()):
            raise ValueError(f"initial_adaptivity must be 1 if norm has no weight and bias, got {initial_adaptivity}")
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights: ``Conv2d``'s own where a norm follows, else such that each tanh sees a unit variance.

        Before a norm the weights' scale does not matter to the output, and the smaller it is the faster they learn:
        a step turns them by the gradient over the square of their norm. Without norms a unit variance at the input is
        kept.
        """
        for conv, norm, variance in ((self.conv1, self.norm1, 1.0), (self.conv2, self.norm2, TANH_VARIANCE)):
            conv.reset_parameters()
            if isinstance(norm, nn.Identity):
                fan_in = conv.in_channels * conv.kernel_size[0] * conv.kernel_size[1]
                nn.init.normal_(conv.weight, std=1 / math.sqrt(fan_in * variance))
                assert conv.bias is not None
                nn.init.zeros_(conv.bias)
            reset = getattr(norm, "reset_parameters", None)
            if reset is not None:
                reset()
        if self.initial_adaptivity < 1:
            scales, shifts = self._scales_and_shifts()
            assert scales is not None
            assert shifts is not None
            with torch.no_grad():
                scales.mul_(math.sqrt(self.initial_adaptivity))
            nn.init.normal_(shifts, std=math.sqrt(1 - self.initial_adaptivity))

    def _scales_and_shifts(self) -> tuple[Tensor | None, Tensor | None]:
        """Return what scales and shifts the coefficients before the last tanh."""
        last = self.conv2 if isinstance(self.norm2, nn.Identity) else self.norm2
        return getattr(last, "weight", None), getattr(last, "bias", None)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, H, W]`` to coefficients ``[N, m, K, H_out, W_out]`` in (−1, 1)."""
        hidden = _stage(self.conv1, self.norm1, x)
        rows, columns = self.crop
        hidden = hidden[..., rows : hidden.shape[-2] - rows, columns : hidden.shape[-1] - columns]
        coefficients = _stage(self.conv2, self.norm2, hidden)
        rows, columns = coefficients.shape[2:]
        return coefficients.view(-1, self.num_atoms, self.num_bases, rows, columns)


def _stage(conv: nn.Conv2d, norm: nn.Module, x: Tensor) -> Tensor:
    """Convolution → norm → tanh; in inference, where that is possible, the convolution does the work of all."""
    if torch.is_grad_enabled() or is_traced() or not _folds(conv, norm):
        return norm_tanh(norm, convolve(conv, x))
    weight, shift = conv.weight, conv.bias
    if isinstance(norm, nn.BatchNorm2d):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = (norm.running_var + norm.eps).rsqrt()
        scale = scale if norm.weight is None else scale * norm.weight
        shift = -norm.running_mean * scale if norm.bias is None else norm.bias - norm.running_mean * scale
        shift = shift if conv.bias is None else shift + conv.bias * scale
        weight = weight * scale.view(-1, 1, 1, 1)
    return convolve_tanh(conv, x, weight, shift)


def _folds(conv: nn.Conv2d, norm: nn.Module) -> bool:
    """Whether the norm is a fixed scale and shift of each channel, and nobody observes it or the convolution."""
    fixed = type(norm) is nn.BatchNorm2d and not norm.training and norm.running_mean is not None
    none = type(norm) is nn.Identity
    return (fixed or none) and type(conv) is nn.Conv2d and not is_observed(conv) and not is_observed(norm)
