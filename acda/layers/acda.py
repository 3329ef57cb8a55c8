"""ACDA: adaptive convolution with per-pixel dynamic filter atoms.

Reference:
    Wang, Miao, Hu, Qiu, *Adaptive Convolutions with Per-pixel Dynamic Filter Atom*, ICCV 2021,
    https://arxiv.org/abs/2108.07895, section 3.2.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acda.bases import fourier_bessel_bases
from acda.layers.adaptive_convolution import AdaptiveConvolution
from acda.layers.factory import NormFactory
from acda.layers.generator import TANH_VARIANCE, CoefficientGenerator
from acda.ops.functional import adaptive_conv2d, check_backend
from acda.ops.geometry import Geometry, IntOrPair, PaddingMode, odd_square
from acda.ops.layout import lay_out

_PADDING_MODES = get_args(PaddingMode)


class ACDAConv2d(AdaptiveConvolution):
    """Drop-in replacement for :class:`torch.nn.Conv2d` whose filter differs at every pixel.

    A small generator Φ reads the input around each pixel and emits coefficients over prefixed multi-scale bases;
    they make m filter atoms, and compositional coefficients shared by all pixels make the filter from the atoms.

    Args:
        in_channels: Channels C of the input.
        out_channels: Channels O of the output.
        kernel_size: Side l of the filter, odd and square.
        stride: As in ``Conv2d``.
        padding: As in ``Conv2d``: pixels, ``"same"`` or ``"valid"``.
        dilation: As in ``Conv2d``.
        groups: As in ``Conv2d``; all groups share the atoms.
        bias: Whether to add a bias for each output channel.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        device: Where parameters and bases lie.
        dtype: Their type.
        num_atoms: Atoms m per pixel.
        num_bases: Fourier–Bessel bases m' per scale.
        scales: Sides of the basis sets; default every odd side from 3 to ``kernel_size``.
        hidden_channels: Width d of the generator.
        generator_kernel_sizes: Its two kernel sizes l_a, l_b, odd. The authors' published layer has (3, 3) and
            ``hidden_channels = max(64, m·K / 2)``.
        norm: Makes the generator's norms from their channels; None for none (for restoration, or batches of one).
        initial_adaptivity: Share of the coefficients' variance, before the last tanh, that differs from pixel to pixel
            at first, from 0 to 1; the rest is a filter that all pixels share, as in ``Conv2d``. Ours: the paper gives
            no initial weights.
        bases: Makes other bases ``[K, l, l]`` from ``kernel_size``, such as :func:`acda.identity_bases` for the paper's
            single-level version; then ``num_bases`` is unused and ``scales`` must be None.
        backend: As in :func:`acda.adaptive_conv2d`.

    Shape:
        Input ``[N, C, H, W]`` or ``[C, H, W]``, output ``[N, O, H_out, W_out]`` or ``[O, H_out, W_out]``.

    Attributes:
        weight: Compositional coefficients A, ``[O, C / groups, m]``.
        bias: ``[O]``, or None.
        bases: Bases ψ, ``[K, l, l]``, a buffer. State dicts from before it was part of them are still loaded.
        generator: The network Φ.

    Raises:
        ValueError: For an argument that is not supported, with its name, what was given and what is allowed.

    Example:
        >>> layer = ACDAConv2d(16, 32, 7, padding=3)
        >>> layer(torch.randn(1, 16, 20, 30)).shape
        torch.Size([1, 32, 20, 30])
    """

    filled_in: ClassVar[frozenset[str]] = frozenset({"bases"})
    _defaults: ClassVar[dict[str, object]] = {"dilation": (1, 1), "groups": 1, "padding_mode": "zeros"}
    bases: Tensor
    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair = 7,
        stride: IntOrPair = 1,
        padding: IntOrPair | str = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        num_atoms: int = 6,
        num_bases: int = 6,
        scales: Sequence[int] | None = None,
        hidden_channels: int = 64,
        generator_kernel_sizes: Sequence[int] = (1, 3),
        norm: NormFactory | None = nn.BatchNorm2d,
        initial_adaptivity: float = 1.0,
        bases: Callable[[int], Tensor] | None = None,
        backend: str = "auto",
    ) -> None:
        geometry = Geometry.of(odd_square(kernel_size), stride, padding, dilation)
        counts = {"groups": groups, "num_atoms": num_atoms, "hidden_channels": hidden_channels}
        super().__init__(in_channels, out_channels, geometry, counts)
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"groups must divide both {in_channels=} and {out_channels=}, got {groups}")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {_PADDING_MODES}, got {padding_mode!r}")
        if bases is not None and scales is not None:
            raise ValueError(f"scales must be None where bases is given, got {scales}")
        check_backend(backend)
        self.dilation = geometry.dilation
        self.groups = int(groups)
        self.padding_mode = padding_mode
        self.num_atoms = int(num_atoms)
        self.num_bases = int(num_bases)
        self.scales = scales
        self.backend = backend
        self._make_bases = bases
        bases_shape = self._prefixed_bases().shape
        self.register_buffer("bases", torch.empty(bases_shape, device=device, dtype=dtype))
        self.generator = CoefficientGenerator(
            in_channels,
            num_atoms,
            self.bases.shape[0],
            geometry,
            hidden_channels,
            generator_kernel_sizes,
            norm,
            padding_mode,
            device,
            dtype,
            initial_adaptivity,
        )
        weight_shape = (out_channels, in_channels // groups, num_atoms)
        self.weight = nn.Parameter(torch.empty(weight_shape, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self._reset_own()

    def _prefixed_bases(self) -> Tensor:
        side = self.geometry.kernel_size
        with torch.device("cpu"):  # their numbers are needed even for a layer on the meta device
            if self._make_bases is None:
                return fourier_bessel_bases(side, self.num_bases, self.scales, dtype=torch.float64)
            bases = self._make_bases(side)
        if bases.dim() != 3 or bases.shape[1:] != (side, side):
            raise ValueError(f"bases must make a tensor of shape [K, {side}, {side}], got {tuple(bases.shape)}")
        return bases

    def _reset_own(self) -> None:
        """Compute the bases and draw all parameters but the generator's."""
        bases = self._prefixed_bases()
        self.bases.copy_(bases)
        # A unit input has variance C/groups · m · Var(A) · E‖D‖² at the output; ‖D‖² is Var(α) · Σ‖ψ_k‖² in the mean.
        atom_energy = TANH_VARIANCE * float(bases.square().sum())
        nn.init.normal_(self.weight, std=1 / math.sqrt(self.weight.shape[1] * self.num_atoms * atom_energy))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, and compute the bases, so that the layer preserves the variance of its input."""
        self.generator.reset_parameters()
        self._reset_own()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Load; where bases are missing, as in state dicts from before they were saved, take those first computed."""
        state_dict.setdefault(f"{prefix}bases", self._saved_nowhere())
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _saved_nowhere(self) -> Tensor:
        """Compute the bases once more; those that a callable drew at random are the layer's own."""
        with torch.random.fork_rng(devices=[]):
            computed, again = self._prefixed_bases(), self._prefixed_bases()
        return computed.to(self.bases.dtype) if torch.equal(computed, again) else self.bases

    def coefficients(self, x: Tensor) -> Tensor:
        """Basis coefficients α of every output pixel.

        Args:
            x: Input ``[N, C, H, W]``.

        Returns:
            ``[N, m, K, H_out, W_out]``, in (−1, 1).

        Raises:
            ValueError: If ``x`` is not of this shape, or smaller than a window with its padding.
        """
        self.output_size(x)
        coefficients: Tensor = self.generator(x)
        return coefficients

    def atoms(self, x: Tensor) -> Tensor:
        """Filter atoms D = αψ of every output pixel.

        Args:
            x: Input ``[N, C, H, W]``.

        Returns:
            ``[N, m, l, l, H_out, W_out]``.

        Raises:
            ValueError: As in :meth:`coefficients`.
        """
        return torch.einsum("nbkhw,kuv->nbuvhw", self.coefficients(x), self.bases)

    def filters(self, x: Tensor, max_bytes: int = 2**30) -> Tensor:
        """Compose the full filter K = AD of every output pixel, for study on small inputs.

        Args:
            x: Input ``[N, C, H, W]``.
            max_bytes: Refuse to make a result larger than this.

        Returns:
            ``[N, O, C / groups, l, l, H_out, W_out]``.

        Raises:
            ValueError: As in :meth:`coefficients`, or if the result would be larger than ``max_bytes``.
        """
        rows, columns = self.output_size(x)
        per_pixel = self.weight[..., 0].numel() * self.geometry.kernel_size**2 * self.weight.element_size()
        size = x.shape[0] * rows * columns * per_pixel
        if size > max_bytes:
            raise ValueError(f"x of shape {list(x.shape)} has filters of {size:,} bytes, max_bytes={max_bytes:,}")
        return torch.einsum("ocb,nbuvhw->nocuvhw", self.weight, self.atoms(x))

    def convolve(self, x: Tensor) -> Tensor:
        """Apply the adaptive convolution."""
        # Once for all: the generator keeps this layout and the operator works in it.
        x = lay_out(x, channels_last=True)
        coefficients: Tensor = self.generator(x)
        padding = self.padding
        if self.padding_mode != "zeros":
            x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]), mode=self.padding_mode)
            padding = (0, 0)
        return adaptive_conv2d(
            x,
            coefficients,
            self.bases,
            self.weight,
            self.bias,
            self.stride,
            padding,
            self.dilation,
            self.groups,
            backend=self.backend,
        )

    def _sizes(self) -> dict[str, int]:
        return {"num_atoms": self.num_atoms, "bases": self.bases.shape[0]}
