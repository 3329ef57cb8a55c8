"""Layouts in memory, by PyTorch's rule for convolutions."""

import torch
from torch import Tensor, nn

from acda.ops.subsampled import is_broken, mend
from acda.ops.tracing import is_transformed, untraced


def any_channels_last(*tensors: Tensor) -> bool:
    """Tell whether PyTorch takes one of an image and the weights of a convolution to have its channels last in memory.

    Args:
        *tensors: Images and weights ``[N, C, H, W]``; those of other numbers of dimensions are passed over.

    Returns:
        Whether the strides of one ascend from channels to columns, rows and images. Where they do so in both layouts,
        as those of a single pixel of a single channel, it is taken for contiguous.
    """
    return untraced(lambda: any(_lies_channels_last(tensor) for tensor in tensors))


def _lies_channels_last(tensor: Tensor) -> bool:
    if tensor.dim() != 4:
        return False
    if torch.compiler.is_compiling():  # which cannot tell the strides of tensors of any size
        return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
    strides = tensor.stride()
    if strides[1] == 0:
        return False
    least = 0
    for dim in (1, 3, 2, 0):
        if strides[dim] < least or (dim == 0 and least == strides[1]):
            return False
        least = strides[dim] * max(1, tensor.shape[dim])
    return True


def lay_out(tensor: Tensor, channels_last: bool) -> Tensor:
    """Bring images to one of the two layouts, but under :func:`torch.func.vmap`, which knows only one.

    Args:
        tensor: ``[N, C, H, W]``.
        channels_last: Whether channels are to be neighbours in memory.

    Returns:
        The same values.
    """
    if not torch.compiler.is_compiling() and is_transformed():
        return tensor
    return tensor.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def lay_out_weights(network: nn.Module) -> None:
    """Bring the weights of a network's convolutions to channels last, so that what they give lies so too.

    A network with a convolution that could then break memory (:func:`acda.ops.subsampled.is_broken`) and is of a class
    of its own, which cannot be mended, is left as it is.

    Args:
        network: Changed in place, but for what it computes. Unlike ``network.to(memory_format=torch.channels_last)``
            this passes over parameters of five dimensions.
    """
    mend(network)
    if any(is_broken(module) for module in network.modules()):
        return
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
