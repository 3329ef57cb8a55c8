"""Train, evaluate and apply networks built from adaptive convolutions: ``python cli.py --help``."""

import os
import sys
import threading
from collections.abc import Sequence

import acda  # noqa: F401  imported classes can be named without their module
import datamodules  # noqa: F401
import lit_modules  # noqa: F401
from datamodules.errors import DataError
from lit_modules.cli import CLI, UsageError, explain, leave_workers_alone, quiet_tensorboard
from lit_modules.errors import CheckError, Interrupted, PredictionError, TrainingError


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line.

    What a user can correct is told in a few lines: exit code 2 for the command line and configuration, 1 for data, a
    training that cannot go on, inputs that were not predicted, and faults of the machine such as a full disk.
    Everything else is a fault of the program and keeps its traceback; with the environment variable ``ACDA_DEBUG=1``
    these do too.

    Args:
        args: Arguments, by default those of the process.
    """
    try:
        CLI(args)
    except Interrupted as stopped:
        leave_workers_alone()
        if str(stopped):
            print(stopped, file=sys.stderr)
        sys.exit(stopped.exit_code)
    except Exception as error:
        leave_workers_alone()
        told = isinstance(error, UsageError | DataError | TrainingError | PredictionError | CheckError)
        text = str(error) if told else explain(error)
        if text is None:
            error.add_note(
                "This is a fault of the program, not of your settings: please report it with all of the above."
            )
            raise
        if os.environ.get("ACDA_DEBUG") == "1":
            raise
        print(f"error: {text}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)


if __name__ == "__main__":
    threading.excepthook = quiet_tensorboard
    main()
