"""Dynamic convolution (DY-CNN): one kernel for each image, by attention over a few."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acda.layers.comparator import Comparator, mixed_conv2d
from acda.ops.geometry import IntOrPair


class DynamicConv2d(Comparator):
    """Convolution whose kernel is, for each image, a convex combination of K kernels.

    ``π = softmax(W₂ ReLU(W₁ GAP(x)) / τ)``, ``W = Σ πₖ Wₖ``, ``b = Σ πₖ bₖ``, ``y = W ∗ x + b``, where GAP is the mean
    over all pixels. It has K times the parameters of a convolution: 12.9 M with 256 channels in and out and a 7×7
    kernel.

    The temperature τ must be lowered while training, or π stays nearly uniform: call :meth:`anneal_temperature` at the
    start of each epoch (``lit_modules.callbacks.AnnealTemperature`` does).

    Args:
        in_channels: Channels C of the input.
        out_channels: Channels O of the output.
        kernel_size: Side l of the kernel, square.
        stride: As in ``Conv2d``.
        padding: Zeros around the input in pixels, ``"same"`` or ``"valid"``.
        bias: Whether each kernel has a bias.
        num_kernels: Kernels K.
        initial_temperature: τ at the start, at least 1.
        anneal_epochs: Epochs after which τ is 1.
        device: Where parameters lie.
        dtype: Their type.

    Shape:
        Input ``[N, C, H, W]``, output ``[N, O, H_out, W_out]``.

    Attributes:
        weight: Kernels Wₖ, each ``[O, C, l, l]`` in a row of ``[K, O·C·l²]``.
        bias: ``[K, O]``, or None.
        squeeze: The linear layer W₁, without bias, to C/4 features but at least K.
        excite: The linear layer W₂, without bias.
        temperature: The present τ, a scalar in the state dict.

    Raises:
        ValueError: For an argument that is not supported, with its name, what was given and what is allowed.

    Reference:
        Chen, Dai, Liu, Chen, Yuan, Liu, *Dynamic Convolution: Attention over Convolution Kernels*, CVPR 2020; paper
        Table 2.
    """

    _defaults: ClassVar[dict[str, object]] = {"num_kernels": 4, "initial_temperature": 30.0, "anneal_epochs": 10}
    bias: nn.Parameter | None
    temperature: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: IntOrPair | str = 0,
        bias: bool = True,
        *,
        num_kernels: int = 4,
        initial_temperature: float = 30.0,
        anneal_epochs: int = 10,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        counts = {"num_kernels": num_kernels, "anneal_epochs": anneal_epochs}
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, counts, odd=False)
        if not initial_temperature >= 1:
            raise ValueError(f"initial_temperature must be at least 1, got {initial_temperature}")
        self.num_kernels = int(num_kernels)
        self.initial_temperature = float(initial_temperature)
        self.anneal_epochs = int(anneal_epochs)
        hidden_features = max(num_kernels, in_channels // 4)
        self.squeeze = nn.Linear(in_channels, hidden_features, bias=False, device=device, dtype=dtype)
        self.excite = nn.Linear(hidden_features, num_kernels, bias=False, device=device, dtype=dtype)
        # Flat, since a parameter of five dimensions keeps a whole network from being moved to channels last.
        numel = out_channels * in_channels * self.geometry.kernel_size**2
        self.weight = nn.Parameter(torch.empty(num_kernels, numel, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(num_kernels, out_channels, device=device, dtype=dtype)) if bias else None
        self.register_buffer("temperature", torch.empty((), device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set τ to its start and draw all parameters so that the layer preserves the variance of its input.

        Kernels are drawn independently with variance K / (C·l²): their mean, which π at the start nearly takes, then
        has 1 / (C·l²). (Drawn with He's 2 / (C·l²), the mean of four would halve the variance.)
        """
        self.squeeze.reset_parameters()
        self.excite.reset_parameters()
        fan_in = self.in_channels * self.geometry.kernel_size**2
        nn.init.normal_(self.weight, std=math.sqrt(self.num_kernels / fan_in))
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self.anneal_temperature(0)

    def anneal_temperature(self, epoch: float) -> None:
        """Set τ = 1 + (start − 1) · max(0, 1 − epoch / anneal_epochs).

        Args:
            epoch: Epochs trained so far, from 0; may be fractional.
        """
        left = max(0.0, 1 - epoch / self.anneal_epochs)
        self.temperature.fill_(1 + (self.initial_temperature - 1) * left)

    def attention(self, x: Tensor) -> Tensor:
        """Attention π over the kernels, ``[N, K]``, rows that sum to 1, for ``x`` ``[N, C, H, W]``."""
        logits = self.excite(F.relu(self.squeeze(x.mean((2, 3)))))
        return torch.softmax(logits / self.temperature, dim=1)

    def convolve(self, x: Tensor) -> Tensor:
        """Convolve each image with its kernel."""
        return mixed_conv2d(x, self.attention(x), self.weight, self.bias, self.geometry)
