from lit_modules.cli.cli import CLI
from lit_modules.cli.errors import UsageError

__all__ = ["CLI", "UsageError"]
