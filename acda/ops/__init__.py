from acda.ops.functional import adaptive_conv2d
from acda.ops.standard import standard_operators

__all__ = ["adaptive_conv2d", "standard_operators"]
