"""The command line in processes of its own; as a module, it runs several commands, one after another.

So two processes need to be started once for several commands.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence

from lightning.pytorch.utilities import rank_zero_only

import cli
from tests.support.forks import ROOT, Forked, ForkServer

CONFIGS = ROOT / "configs"
SECONDS = 300
_server = ForkServer()


def program(*args: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python cli.py <args>``."""
    return started(*args, **environment).wait(SECONDS)


def limited(largest_file: int, *args: object) -> subprocess.CompletedProcess[str]:
    """Run it with no file larger than a number of bytes."""
    return started(*args, largest_file=largest_file).wait(SECONDS)


def started(*args: object, largest_file: int | None = None, **environment: str) -> Forked:
    """Start it, to go on beside the test."""
    return _server.start([str(ROOT / "cli.py"), *map(str, args)], _environment(environment), largest_file)


def fresh_program(*args: object) -> subprocess.CompletedProcess[str]:
    """Run it as a user does, in a Python of its own."""
    return _python(str(ROOT / "cli.py"), *map(str, args))


def torchrun(*args: object) -> subprocess.CompletedProcess[str]:
    """Run ``torchrun --nproc_per_node=2 cli.py <args>``."""
    two_processes = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    return _python(*two_processes, str(ROOT / "cli.py"), *map(str, args))


def in_two_processes(*commands: Sequence[object], code: int = 0) -> list[subprocess.CompletedProcess[str]]:
    """Run commands one after another, each by both of two processes, as torchrun starts them.

    Args:
        *commands: Arguments of each.
        code: With what both processes end.

    Returns:
        How they ended.
    """
    listed = json.dumps([[*map(str, command), "--trainer.devices=2"] for command in commands])
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    shared |= {"TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": "0"}
    processes = [
        _server.start(["-m", __name__, listed], _environment(shared | {"RANK": rank, "LOCAL_RANK": rank}))
        for rank in ("0", "1")
    ]
    both = [process.wait(SECONDS) for process in processes]
    for ended in both:
        assert ended.returncode == code, ended.stderr
    return both


def _python(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, timeout=SECONDS, env=_environment({})
    )


def _environment(more: dict[str, str]) -> dict[str, str]:
    # one thread, as Lightning has it where there are several processes
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **more}


if __name__ == "__main__":
    rank_zero_only.rank = int(os.environ["RANK"])  # which Lightning looks at when it is imported, before the fork
    for command in json.loads(sys.argv[1]):
        cli.main(command)
