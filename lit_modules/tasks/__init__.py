from lit_modules.tasks.base import StepOutput, Task
from lit_modules.tasks.classification import ClassificationTask
from lit_modules.tasks.counting import CountingTask
from lit_modules.tasks.pattern import PatternTask
from lit_modules.tasks.restoration import RestorationOutput, RestorationTask
from lit_modules.tasks.variational import VariationalTask

__all__ = [
    "ClassificationTask",
    "CountingTask",
    "PatternTask",
    "RestorationOutput",
    "RestorationTask",
    "StepOutput",
    "Task",
    "VariationalTask",
]
