"""What ACDA and the convolutions that the paper compares it with have in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from acda.ops.geometry import Geometry, check_count
from acda.ops.layout import any_channels_last, lay_out
from acda.ops.tracing import untraced


class AdaptiveConvolution(nn.Module, ABC):
    """Base of all layers: checks of their arguments and of their input, layouts in memory, and their representation.

    A subclass writes :meth:`convolve`, and lists its other arguments with their defaults in ``_defaults``, for its
    representation. As with :class:`torch.nn.Conv2d` the output lies channels last in memory where the input does, or a
    weight of four dimensions, and is contiguous otherwise. To :mod:`torch.fx` a layer is a leaf, as PyTorch's own are.

    Args:
        in_channels: Channels C of the input.
        out_channels: Channels O of the output.
        geometry: Where the windows lie.
        counts: Other arguments that must be at least 1, by name.

    Raises:
        ValueError: Naming the argument that is below 1.
    """

    filled_in: ClassVar[frozenset[str]] = frozenset()
    """Names of buffers that a layer computes where a state dict that it loads lacks them."""
    _defaults: ClassVar[dict[str, object]] = {}

    def __init__(self, in_channels: int, out_channels: int, geometry: Geometry, counts: Mapping[str, int]) -> None:
        super().__init__()
        for name, count in {"in_channels": in_channels, "out_channels": out_channels, **counts}.items():
            check_count(name, count)
        self.in_channels = int(in_channels)
        self.out_channels = int(out_channels)
        self.geometry = geometry
        self.kernel_size = (geometry.kernel_size, geometry.kernel_size)
        self.stride = geometry.stride
        self.padding = geometry.padding

    @abstractmethod
    def convolve(self, x: Tensor) -> Tensor:
        """Compute the output ``[N, O, H_out, W_out]``, of any layout, of an input ``[N, C, H, W]`` that was checked."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: Input ``[N, C, H, W]`` or ``[C, H, W]``.

        Returns:
            ``[N, O, H_out, W_out]`` or ``[O, H_out, W_out]``.

        Raises:
            ValueError: If ``x`` is of another shape, or smaller than a window with its padding.
        """
        if isinstance(x, torch.fx.Proxy):  # type: ignore[unreachable]
            return x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), (x,), {})  # type: ignore[unreachable]
        if x.dim() == 3:
            return self.forward(x[None])[0]
        self.output_size(x)
        y = self.convolve(x)
        return lay_out(y, any_channels_last(x, *self.parameters()))

    def output_size(self, x: Tensor) -> tuple[int, int]:
        """Height and width in pixels of the output for this input.

        Raises:
            ValueError: If ``x`` is not ``[N, C, H, W]``, or smaller than a window with its padding.
        """
        shape = untraced(lambda: list(x.shape))
        if len(shape) != 4 or shape[1] != self.in_channels:
            raise ValueError(
                f"x must have shape [N, {self.in_channels}, H, W] (in_channels={self.in_channels}), got {shape}"
            )
        return self.geometry.output_size(shape[2], shape[3])

    def extra_repr(self) -> str:
        """Channels, kernel size, those of the other arguments that are not at their default, sizes of its own."""
        defaults = {"stride": (1, 1), "padding": (0, 0), **self._defaults}
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size[0]}"]
        parts += [f"{name}={getattr(self, name)!r}" for name, value in defaults.items() if getattr(self, name) != value]
        parts += [f"{name}={size}" for name, size in self._sizes().items()]
        parts += ["bias=False"] if self.bias is None else []
        return ", ".join(parts)

    def _sizes(self) -> dict[str, int]:
        """Sizes that the representation always has."""
        return {}
