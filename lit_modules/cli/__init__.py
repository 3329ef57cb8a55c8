"""The command line: parsing, messages, faults, and what a stored configuration may name."""

from lit_modules.cli.cli import CLI
from lit_modules.cli.faults import explain, leave_workers_alone, quiet_tensorboard
from lit_modules.errors import UsageError

__all__ = ["CLI", "UsageError", "explain", "leave_workers_alone", "quiet_tensorboard"]
