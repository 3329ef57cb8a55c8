"""The command line in processes of its own; as a module, it runs several commands, one after another.

So two processes, which take longer to start than to run, need to be started once for several commands.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cli

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"


def program(*args: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs ``python cli.py <args>``."""
    return _run(str(ROOT / "cli.py"), *map(str, args), **environment)


def torchrun(*args: object) -> subprocess.CompletedProcess[str]:
    """Runs ``torchrun --nproc_per_node=2 cli.py <args>``."""
    return _run(*_TWO_PROCESSES, str(ROOT / "cli.py"), *map(str, args))


def in_two_processes(*commands: Sequence[object]) -> None:
    """Runs commands one after another, each by both of two processes."""
    listed = json.dumps([[*map(str, command), "--trainer.devices=2"] for command in commands])
    ended = _run(*_TWO_PROCESSES, "-m", __name__, listed)
    assert ended.returncode == 0, ended.stderr


_TWO_PROCESSES = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")


def _run(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # one thread, as Lightning has it where there are several processes
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=300, env=environment)


if __name__ == "__main__":
    for command in json.loads(sys.argv[1]):
        cli.main(command)
