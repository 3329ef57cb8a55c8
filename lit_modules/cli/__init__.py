from lit_modules.cli.cli import CLI
from lit_modules.errors import UsageError

__all__ = ["CLI", "UsageError"]
