from lit_modules.callbacks.class_predictions import ClassPredictions
from lit_modules.callbacks.classification_report import ClassificationReport
from lit_modules.callbacks.coefficient_maps import CoefficientMaps
from lit_modules.callbacks.cost_summary import CostSummary
from lit_modules.callbacks.count_report import CountReport
from lit_modules.callbacks.crowd_predictions import CrowdPredictions
from lit_modules.callbacks.map_predictions import MapPredictions
from lit_modules.callbacks.picture_logger import PictureLogger
from lit_modules.callbacks.temperature import AnnealTemperature
from lit_modules.callbacks.warm_start import WarmStart

__all__ = [
    "AnnealTemperature",
    "ClassPredictions",
    "ClassificationReport",
    "CoefficientMaps",
    "CostSummary",
    "CountReport",
    "CrowdPredictions",
    "MapPredictions",
    "PictureLogger",
    "WarmStart",
]
