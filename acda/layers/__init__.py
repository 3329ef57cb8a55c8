from acda.layers.acda import ACDAConv2d
from acda.layers.cond_conv import CondConv2d
from acda.layers.convert import Conversion, convert_conv2d
from acda.layers.ddf import DDFConv2d
from acda.layers.deform_conv import DeformConv2d
from acda.layers.dynamic_conv import DynamicConv2d
from acda.layers.dynamic_filter import DynamicFilterConv2d
from acda.layers.factory import ConvFactory, NormFactory
from acda.layers.generator import CoefficientGenerator
from acda.layers.group_norm import GroupNorm
from acda.layers.involution import Involution2d

__all__ = [
    "ACDAConv2d",
    "CoefficientGenerator",
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
    "convert_conv2d",
]
