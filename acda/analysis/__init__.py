from acda.analysis.coefficients import capture_scale_magnitudes, scale_magnitudes
from acda.analysis.cost import Cost, LayerCost, acda_macs, conv2d_macs, cost, cost_by_layer, generator_macs
from acda.analysis.receptive_field import receptive_halo

__all__ = [
    "Cost",
    "LayerCost",
    "acda_macs",
    "capture_scale_magnitudes",
    "conv2d_macs",
    "cost",
    "cost_by_layer",
    "generator_macs",
    "receptive_halo",
    "scale_magnitudes",
]
