from lit_modules.losses.charbonnier import Charbonnier
from lit_modules.losses.density import DensityLoss
from lit_modules.losses.pyramid import PyramidLoss
from lit_modules.losses.variational import VariationalLoss, VariationalTerms

__all__ = ["Charbonnier", "DensityLoss", "PyramidLoss", "VariationalLoss", "VariationalTerms"]
