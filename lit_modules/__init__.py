from lit_modules.tasks import (
    ClassificationTask,
    CountingTask,
    PatternTask,
    RestorationOutput,
    RestorationTask,
    StepOutput,
    Task,
    VariationalTask,
)

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
