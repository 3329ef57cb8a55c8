"""Dynamic filter network (DFN): a full filter of its own for every pixel."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from acda.layers.comparator import Comparator, add_bias, centred, windows
from acda.layers.factory import NormFactory
from acda.layers.generator import TANH_VARIANCE
from acda.layers.memory import refuse_over
from acda.ops.geometry import IntOrPair
from acda.ops.layout import lay_out
from acda.ops.tracing import untraced

_GENERATOR_SIDE = 3


class DynamicFilterConv2d(Comparator):
    """Convolution whose whole filter is generated at every pixel, without ACDA's decomposition.

    ``K_p = Φ(x)(p) ∈ R^{O×C×l×l}``, ``y[o, p] = Σ_{c,u} K_p[o, c, u] x[c, p + u] + b[o]``. Φ is ACDA's generator, but
    whole filters come out: 1×1 convolution to d channels → norm → tanh → 3×3 convolution to O·C·l² channels at the
    output's resolution. Its O·C·l²·(9d + 1) parameters and O·C·l² numbers a pixel are prohibitive: with 256 channels in
    and out and a 7×7 filter, 1.85 G parameters, and 2.5 GB of filters for one image of 14×14 pixels. What does not fit
    is refused with its size before it is made.

    Args:
        in_channels: Channels C of the input.
        out_channels: Channels O of the output.
        kernel_size: Side l of the filter, odd and square.
        stride: As in ``Conv2d``.
        padding: Zeros around the input in pixels, ``"same"`` or ``"valid"``.
        bias: Whether to add a bias for each output channel.
        hidden_channels: Width d of Φ.
        norm: Makes the norm after Φ's first convolution from its channels; None for none.
        max_bytes: Refuse to make filters, or weights of Φ, larger than this; None for the memory that is free on the
            device (compiled: when it was compiled), without limit if the system does not say.
        device: Where parameters lie; nothing is refused on ``"meta"``.
        dtype: Their type.

    Shape:
        Input ``[N, C, H, W]``, output ``[N, O, H_out, W_out]``.

    Attributes:
        conv1: First convolution of Φ.
        norm: Norm after it.
        conv2: Second convolution of Φ; its bias is a filter that all pixels share.
        bias: ``[O]``, or None.

    Raises:
        ValueError: For an argument that is not supported, with its name, what was given and what is allowed.
        MemoryError: If the weights of Φ do not fit.

    Reference:
        Jia, De Brabandere, Tuytelaars, Van Gool, *Dynamic Filter Networks*, NeurIPS 2016; paper equations 2 and 3, and
        Table 7, whose "OOM" this is.
    """

    _defaults: ClassVar[dict[str, object]] = {"hidden_channels": 64, "max_bytes": None}
    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: IntOrPair | str = 0,
        bias: bool = True,
        *,
        hidden_channels: int = 64,
        norm: NormFactory | None = nn.BatchNorm2d,
        max_bytes: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        counts = {"hidden_channels": hidden_channels} | ({} if max_bytes is None else {"max_bytes": max_bytes})
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, counts)
        self.hidden_channels = int(hidden_channels)
        self.max_bytes = max_bytes
        self.conv1 = nn.Conv2d(in_channels, hidden_channels, 1, bias=norm is None, device=device, dtype=dtype)
        self.norm = nn.Identity() if norm is None else norm(hidden_channels).to(device=device, dtype=dtype)
        self.filter_shape = (out_channels, in_channels, *self.kernel_size)
        numel, weight = math.prod(self.filter_shape), self.conv1.weight
        nbytes = numel * hidden_channels * _GENERATOR_SIDE**2 * weight.element_size()
        refuse_over(f"weights to generate filters of {numel:,} numbers", nbytes, max_bytes, weight.device)
        self.conv2 = nn.Conv2d(hidden_channels, numel, _GENERATOR_SIDE, self.stride, device=device, dtype=dtype)
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters so that the layer preserves the variance of its input.

        Φ's first convolution keeps the variance and its second gives filters of variance 1 / (C·l²).
        """
        nn.init.normal_(self.conv1.weight, std=1 / math.sqrt(self.in_channels))
        fan_in = self.hidden_channels * _GENERATOR_SIDE**2 * math.prod(self.filter_shape[1:])
        nn.init.normal_(self.conv2.weight, std=1 / math.sqrt(fan_in * TANH_VARIANCE))
        for bias in (self.conv1.bias, self.conv2.bias, self.bias):
            if bias is not None:
                nn.init.zeros_(bias)
        reset = getattr(self.norm, "reset_parameters", None)
        if reset is not None:
            reset()

    def filter_bytes(self, input_shape: Sequence[int]) -> int:
        """Size of the filters of all pixels, N·O·C·l²·H_out·W_out numbers, without making them.

        Training needs more: the filters are kept for backward, which makes a gradient of the same size.

        Args:
            input_shape: ``(N, C, H, W)``.

        Returns:
            Bytes, in the parameters' type, or in autocast's where that is on.

        Raises:
            ValueError: If the image is smaller than a window with its padding.
        """
        images, _, height, width = input_shape
        rows, columns = self.geometry.output_size(height, width)
        device, dtype = self.conv1.weight.device.type, self.conv1.weight.dtype
        if device != "meta" and torch.is_autocast_enabled(device) and dtype != torch.float64:
            dtype = torch.get_autocast_dtype(device)
        return images * rows * columns * math.prod(self.filter_shape) * dtype.itemsize

    def filters(self, x: Tensor) -> Tensor:
        """Generate the filters of all pixels, ``[N, O, C, l, l, H_out, W_out]``, for ``x`` ``[N, C, H, W]``.

        Raises:
            ValueError: If ``x`` is not of this shape, or smaller than a window with its padding.
            MemoryError: If they do not fit.
        """
        self.output_size(x)
        shape = untraced(lambda: list(x.shape))
        refuse_over(f"filters for x of shape {shape}", self.filter_bytes(shape), self.max_bytes, x.device)
        hidden = torch.tanh(self.norm(self.conv1(x)))
        # With channels last in memory each pixel's filter is a matrix in one piece, and applying it copies nothing.
        hidden = lay_out(centred(hidden, self.geometry, _GENERATOR_SIDE), channels_last=True)
        filters: Tensor = self.conv2(hidden)
        return filters.view(-1, *self.filter_shape, *filters.shape[2:])

    def convolve(self, x: Tensor) -> Tensor:
        """Filter each pixel's window with its own filter."""
        y = torch.einsum("nocuvhw,nchwuv->nohw", self.filters(x), windows(x, self.geometry))
        return add_bias(y, self.bias)
