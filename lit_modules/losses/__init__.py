from lit_modules.losses.charbonnier import Charbonnier
from lit_modules.losses.multi_scale import MultiScaleL1
from lit_modules.losses.pyramid import PyramidLoss
from lit_modules.losses.variational import VariationalLoss, VariationalTerms

__all__ = ["Charbonnier", "MultiScaleL1", "PyramidLoss", "VariationalLoss", "VariationalTerms"]
