"""What the convolutions that the paper compares ACDA with have in common."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from acda.layers.adaptive_convolution import AdaptiveConvolution
from acda.ops.geometry import Geometry, IntOrPair, odd_square, pair
from acda.ops.tracing import untraced

# Least width of a generator's hidden layer with ReLU: narrower ones, as in a LeNet, are often dead from the start.
LEAST_HIDDEN = 4


class Comparator(AdaptiveConvolution):
    """Base of the comparators: the arguments of ``Conv2d`` that they all take.

    Args:
        in_channels: Channels C of the input.
        out_channels: Channels O of the output.
        kernel_size: Side l of the filter, square.
        stride: As in ``Conv2d``.
        padding: Zeros around the input in pixels, ``"same"`` or ``"valid"``.
        counts: Options of the subclass that must be at least 1, by name.
        odd: Whether the method needs an odd ``kernel_size``.

    Attributes:
        geometry: Where the windows lie.

    Raises:
        ValueError: Naming the argument that is off, what was given and what is allowed.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair,
        padding: IntOrPair | str,
        counts: Mapping[str, int],
        odd: bool = True,
    ) -> None:
        height, width = (odd_square(kernel_size),) * 2 if odd else pair(kernel_size, "kernel_size", 1)
        if height != width:
            raise ValueError(f"kernel_size must be square, got {kernel_size!r}")
        if padding == "same" and height % 2 == 0:
            raise ValueError(f"padding='same' needs an odd kernel_size, got {kernel_size!r}")
        super().__init__(in_channels, out_channels, Geometry.of(height, stride, padding), counts)


def add_bias(y: Tensor, bias: Tensor | None) -> Tensor:
    """Add ``[O]`` to ``[N, O, H, W]``, in the type of the latter, which autocast may have chosen."""
    return y if bias is None else y + bias.to(y.dtype).view(-1, 1, 1)


def windows(x: Tensor, geometry: Geometry) -> Tensor:
    """View the window of every output pixel in the zero-padded ``x``.

    Args:
        x: Input ``[N, C, H, W]``.
        geometry: Where the windows lie.

    Returns:
        ``[N, C, H_out, W_out, l, l]``.
    """
    (vertical, horizontal), (stride_v, stride_h) = geometry.padding, geometry.stride
    padded = F.pad(x, (horizontal, horizontal, vertical, vertical))
    side = geometry.kernel_size
    return padded.unfold(2, side, stride_v).unfold(3, side, stride_h)


def centred(x: Tensor, geometry: Geometry, side: int = 1) -> Tensor:
    """Crop or zero-pad ``x`` so that smaller windows without padding lie in the middle of those of ``geometry``.

    Args:
        x: ``[N, C, H, W]``.
        geometry: Where the large windows lie.
        side: Side of the small windows in pixels, odd.

    Returns:
        ``[N, C, H', W']``: a convolution of this side, without padding and with the stride of ``geometry``, gives one
        value for each large window.
    """
    vertical, horizontal = (side // 2 - geometry.kernel_size // 2 + p for p in geometry.padding)
    return F.pad(x, (horizontal, horizontal, vertical, vertical))


def mixed_conv2d(x: Tensor, mixture: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Convolve each image with its own mixture of n kernels: one grouped convolution, a group for each image.

    Args:
        x: Input ``[N, C, H, W]``.
        mixture: Share of each kernel in each image's, ``[N, n]``.
        weight: Kernels ``[n, O·C·l²]``.
        bias: Their biases, mixed alike, ``[n, O]``, or None.
        geometry: Where the windows lie.

    Returns:
        ``[N, O, H_out, W_out]``.
    """
    images, stride, padding = x.shape[0], geometry.stride, geometry.padding
    shape = (-1, x.shape[1], geometry.kernel_size, geometry.kernel_size)
    kernels, biases = mixture @ weight, None if bias is None else mixture @ bias
    # A convolution has one group at least: without images any kernel gives nothing, connected to all that went in.
    if untraced(lambda: x.shape[0] == 0):
        return F.conv2d(x, kernels.sum(0).view(shape), None if biases is None else biases.sum(0), stride, padding)
    flat_biases = None if biases is None else biases.flatten()
    x = x.reshape(1, -1, *x.shape[2:])
    y = F.conv2d(x, kernels.view(shape), flat_biases, stride, padding, groups=images)
    return y.view(images, -1, *y.shape[2:])
