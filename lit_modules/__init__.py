from lit_modules.classification import ClassificationTask
from lit_modules.counting import CountingTask
from lit_modules.pattern import PatternTask
from lit_modules.restoration import RestorationTask
from lit_modules.variational import VariationalTask

__all__ = ["ClassificationTask", "CountingTask", "PatternTask", "RestorationTask", "VariationalTask"]
