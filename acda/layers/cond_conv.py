"""CondConv: one kernel for each image, a weighted sum of experts."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from acda.layers.comparator import Comparator, mixed_conv2d
from acda.ops.geometry import IntOrPair


class CondConv2d(Comparator):
    """Convolution whose kernel is mixed for each image from n experts.

    ``r = sigmoid(V·GAP(x) + v) ∈ (0, 1)ⁿ``, ``W = Σ rᵢ Wᵢ``, ``b = Σ rᵢ bᵢ``, ``y = W ∗ x + b``, where GAP is the mean
    over all pixels. It has n times the parameters of a convolution: 25.7 M with 256 channels in and out and a 7×7
    kernel.

    Args:
        in_channels: Channels C of the input.
        out_channels: Channels O of the output.
        kernel_size: Side l of the kernel, square.
        stride: As in ``Conv2d``.
        padding: Zeros around the input in pixels, ``"same"`` or ``"valid"``.
        bias: Whether each expert has a bias.
        num_experts: Experts n.
        device: Where parameters lie.
        dtype: Their type.

    Shape:
        Input ``[N, C, H, W]``, output ``[N, O, H_out, W_out]``.

    Attributes:
        weight: Experts Wᵢ, each ``[O, C, l, l]`` in a row of ``[n, O·C·l²]``.
        bias: ``[n, O]``, or None.
        routing: The linear layer of r.

    Raises:
        ValueError: For an argument that is not supported, with its name, what was given and what is allowed.

    Reference:
        Yang, Bender, Le, Ngiam, *CondConv: Conditionally Parameterized Convolutions for Efficient Inference*,
        NeurIPS 2019; paper Tables 2, 3.
    """

    _defaults: ClassVar[dict[str, object]] = {"num_experts": 8}
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
        num_experts: int = 8,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        counts = {"num_experts": num_experts}
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, counts, odd=False)
        self.num_experts = int(num_experts)
        self.routing = nn.Linear(in_channels, num_experts, device=device, dtype=dtype)
        # Flat, since a parameter of five dimensions keeps a whole network from being moved to channels last.
        numel = out_channels * in_channels * self.geometry.kernel_size**2
        self.weight = nn.Parameter(torch.empty(num_experts, numel, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(num_experts, out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters so that the layer preserves the variance of its input.

        Experts are drawn independently from a normal distribution, as in the original, but with the variance
        4 / (n·C·l²): with all rᵢ near 1/2, as for a zero-mean input, the sum of n of them then has 1 / (C·l²).
        """
        self.routing.reset_parameters()
        nn.init.zeros_(self.routing.bias)
        fan_in = self.in_channels * self.geometry.kernel_size**2
        nn.init.normal_(self.weight, std=2 / math.sqrt(self.num_experts * fan_in))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def routing_weights(self, x: Tensor) -> Tensor:
        """Weights r of the experts, ``[N, n]`` in (0, 1), for ``x`` ``[N, C, H, W]``."""
        return torch.sigmoid(self.routing(x.mean((2, 3))))

    def convolve(self, x: Tensor) -> Tensor:
        """Convolve each image with its kernel."""
        return mixed_conv2d(x, self.routing_weights(x), self.weight, self.bias, self.geometry)
