from lit_modules.losses.charbonnier import Charbonnier
from lit_modules.losses.variational import VariationalLoss, VariationalTerms

__all__ = ["Charbonnier", "VariationalLoss", "VariationalTerms"]
