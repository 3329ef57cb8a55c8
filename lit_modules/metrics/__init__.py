from lit_modules.metrics.colour import rgb_to_y
from lit_modules.metrics.count_errors import CountErrors, CountMAE, CountNAE, CountRMSE, count_heads
from lit_modules.metrics.error_rate import ErrorRate
from lit_modules.metrics.protocols import EvaluationProtocol, ProtocolName, named_protocol
from lit_modules.metrics.scores import MeanScore, Score
from lit_modules.metrics.similarity import SsimForm, psnr, ssim

__all__ = [
    "CountErrors",
    "CountMAE",
    "CountNAE",
    "CountRMSE",
    "ErrorRate",
    "EvaluationProtocol",
    "MeanScore",
    "ProtocolName",
    "Score",
    "SsimForm",
    "count_heads",
    "named_protocol",
    "psnr",
    "rgb_to_y",
    "ssim",
]
