"""Adaptive convolutions with per-pixel dynamic filter atoms (Wang et al., ICCV 2021)."""

from acda import analysis, inference, models
from acda.allocator import keep_freed_memory
from acda.bases import basis_scales, fourier_bessel_bases, identity_bases
from acda.layers import (
    ACDAConv2d,
    CondConv2d,
    Conversion,
    ConvFactory,
    DDFConv2d,
    DeformConv2d,
    DynamicConv2d,
    DynamicFilterConv2d,
    GroupNorm,
    Involution2d,
    NormFactory,
    convert_conv2d,
)
from acda.ops import adaptive_conv2d, standard_operators

__all__ = [
    "ACDAConv2d",
    "CondConv2d",
    "ConvFactory",
    "Conversion",
    "DDFConv2d",
    "DeformConv2d",
    "DynamicConv2d",
    "DynamicFilterConv2d",
    "GroupNorm",
    "Involution2d",
    "NormFactory",
    "adaptive_conv2d",
    "analysis",
    "basis_scales",
    "convert_conv2d",
    "fourier_bessel_bases",
    "identity_bases",
    "inference",
    "keep_freed_memory",
    "models",
    "standard_operators",
]
