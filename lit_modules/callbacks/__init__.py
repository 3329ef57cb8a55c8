from lit_modules.callbacks.batch_norms import FreezeBatchNorms
from lit_modules.callbacks.class_predictions import ClassPredictions
from lit_modules.callbacks.classification_report import ClassificationReport
from lit_modules.callbacks.clip_bounds import ClipBounds
from lit_modules.callbacks.coefficient_maps import CoefficientMaps
from lit_modules.callbacks.cost_summary import CostSummary
from lit_modules.callbacks.count_report import CountReport
from lit_modules.callbacks.crowd_predictions import CrowdPredictions
from lit_modules.callbacks.failed_inputs import FailedInputs
from lit_modules.callbacks.map_predictions import MapPredictions
from lit_modules.callbacks.picture_logger import PictureLogger
from lit_modules.callbacks.restoration_report import RestorationReport
from lit_modules.callbacks.restored_images import RestoredImages
from lit_modules.callbacks.sidd_submission import SiddSubmission
from lit_modules.callbacks.temperature import AnnealTemperature
from lit_modules.callbacks.warm_start import WarmStart

__all__ = [
    "AnnealTemperature",
    "ClassPredictions",
    "ClassificationReport",
    "ClipBounds",
    "CoefficientMaps",
    "CostSummary",
    "CountReport",
    "CrowdPredictions",
    "FailedInputs",
    "FreezeBatchNorms",
    "MapPredictions",
    "PictureLogger",
    "RestorationReport",
    "RestoredImages",
    "SiddSubmission",
    "WarmStart",
]
