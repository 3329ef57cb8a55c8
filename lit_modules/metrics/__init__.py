from lit_modules.metrics.error_rate import ErrorRate

__all__ = ["ErrorRate"]
