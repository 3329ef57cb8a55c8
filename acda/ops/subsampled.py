"""Strided 1×1 convolutions whose gradients oneDNN computes within its memory."""

from torch import Tensor, nn
from torch.nn import functional as F

_LEAST_CHANNELS = 16


class SubsampledConv2d(nn.Conv2d):
    """A strided 1×1 :class:`torch.nn.Conv2d` that first takes the pixels it reads; the same result.

    Shape:
        ``[N, C, H, W]`` to ``[N, O, H_out, W_out]``, as in ``Conv2d``.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if any(self._reversed_padding_repeated_twice):
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=mode)
        rows, columns = self.stride
        return F.conv2d(input[..., ::rows, ::columns], weight, bias, groups=self.groups)


def is_broken(module: nn.Module) -> bool:
    """Tell whether oneDNN may break memory in a module's backward.

    In the gradient of the weights of a strided 1×1 convolution of fewer than 16 channels, whose images have channels
    last, it writes past the end of its memory (seen with torch 2.14 on CPUs with AVX2 and with AVX-512, on one thread).
    """
    return (
        isinstance(module, nn.Conv2d)
        and type(module)._conv_forward is nn.Conv2d._conv_forward
        and module.kernel_size == (1, 1) != module.stride
        and module.in_channels // module.groups < _LEAST_CHANNELS
    )


def mend(module: nn.Module) -> None:
    """Let a network's strided 1×1 convolutions of few channels, which oneDNN may break, take their pixels first.

    Args:
        module: A network or a convolution. Changed in place: of convolutions that are plain ``Conv2d`` the class. State
            dicts and results stay what they are.
    """
    for part in module.modules():
        if type(part) is nn.Conv2d and is_broken(part):
            part.__class__ = SubsampledConv2d
