from acda.ops.functional import adaptive_conv2d

__all__ = ["adaptive_conv2d"]
