from lit_modules.tasks import (
    ClassificationTask,
    CountingTask,
    PatternTask,
    RestorationTask,
    StepOutput,
    Task,
    VariationalTask,
)

__all__ = [
    "ClassificationTask",
    "CountingTask",
    "PatternTask",
    "RestorationTask",
    "StepOutput",
    "Task",
    "VariationalTask",
]
