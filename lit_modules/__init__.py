from lit_modules.classification import ClassificationTask
from lit_modules.counting import CountingTask
from lit_modules.pattern import PatternTask

__all__ = ["ClassificationTask", "CountingTask", "PatternTask"]
