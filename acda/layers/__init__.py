from acda.layers.acda import ACDAConv2d
from acda.layers.convert import Conversion, convert_conv2d
from acda.layers.factory import ConvFactory
from acda.layers.generator import CoefficientGenerator

__all__ = ["ACDAConv2d", "CoefficientGenerator", "ConvFactory", "Conversion", "convert_conv2d"]
