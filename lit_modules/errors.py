"""What a user can correct."""


class UsageError(Exception):
    """Something the user wrote is wrong; its text is shown without a traceback, the exit code is 2."""


class TrainingError(Exception):
    """Training cannot go on; its text is shown without a traceback, the exit code is 1."""


class PredictionError(Exception):
    """Inputs could not be predicted; its text is shown without a traceback, the exit code is 1."""


class CheckError(Exception):
    """Something is wrong with the data; its text is shown without a traceback, the exit code is 1."""


class Interrupted(Exception):
    """A signal ended the run; its text is shown without a traceback.

    Args:
        message: What was saved, and how to go on; empty on other processes than the first.
        exit_code: That of the program.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
