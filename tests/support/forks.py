"""Starts programs without waiting for their imports: forks of a process that has imported them already.

A Python that imports PyTorch and Lightning anew takes seconds to start, a fork of one that has done so takes none. What
runs in it is the same: a process with its own identity, signals, limits, environment and exit code. As a script, this
is the process that forks.
"""

import atexit
import json
import os
import resource
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]
# What a training imports when it needs it stands here too.
IMPORTED = ("lightning.pytorch", "cli", "torch._dynamo", "torch.utils.tensorboard", "tests.cli.accidents")
MESSAGE = 2**20


class Forked:
    """A program that runs; what it writes to standard output and error is read while it does.

    Args:
        pid: Its process.
        server: Who forked it.
        outputs: Ends of pipes to read its standard output and error from.
    """

    def __init__(self, pid: int, server: "ForkServer", outputs: Sequence[int]) -> None:
        self.pid = pid
        self._server = server
        self._texts = [b"", b""]
        self._readers = [threading.Thread(target=self._read, args=(i, end)) for i, end in enumerate(outputs)]
        for reader in self._readers:
            reader.start()

    def _read(self, number: int, end: int) -> None:
        with os.fdopen(end, "rb") as file:
            self._texts[number] = file.read()

    def wait(self, seconds: float) -> subprocess.CompletedProcess[str]:
        """Wait for its end.

        Args:
            seconds: After which it is killed.

        Returns:
            Exit code, negative for a signal, and what it wrote.

        Raises:
            subprocess.TimeoutExpired: If it did not end.
        """
        code = self._server.ask(wait=self.pid, seconds=seconds)
        for reader in self._readers:
            reader.join(seconds)
        output, error = (text.decode(errors="replace") for text in self._texts)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", seconds, output, error)
        return subprocess.CompletedProcess([], code, output, error)


class ForkServer:
    """The process that forks, started when it is first needed."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def start(self, argv: Sequence[str], environment: Mapping[str, str], largest_file: int | None = None) -> Forked:
        """Start a program in the working directory of this process.

        Args:
            argv: The script, or ``-m`` and a module, and its arguments.
            environment: All of its environment.
            largest_file: Limit in bytes on the size of the files that it writes.
        """
        pipes = [os.pipe(), os.pipe()]
        request = {"argv": list(argv), "environment": dict(environment), "folder": os.getcwd(), "limit": largest_file}
        pid = self.ask([write for _, write in pipes], **request)
        for _, write in pipes:
            os.close(write)
        return Forked(pid, self, [read for read, _ in pipes])

    def ask(self, ends: Sequence[int] = (), **request: Any) -> Any:
        """Send a request, with files, and give the answer."""
        if self._socket is None:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
            command = [sys.executable, __file__, str(theirs.fileno())]
            subprocess.Popen(command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
            theirs.close()
        socket.send_fds(self._socket, [json.dumps(request).encode()], ends)
        answer = self._socket.recv(MESSAGE)
        assert answer, "the process that forks has ended"
        return json.loads(answer)


def serve(client: socket.socket) -> None:
    """Fork and wait as asked, until nobody is there to ask."""
    for name in IMPORTED:
        import_module(name)
    while True:
        message, ends, *_ = socket.recv_fds(client, MESSAGE, 2)
        if not message:
            return
        request = json.loads(message)
        if "wait" in request:
            answer = _wait(request["wait"], request["seconds"])
        elif (answer := os.fork()) == 0:
            client.close()
            _run(request, ends)
        for end in ends:
            os.close(end)
        client.send(json.dumps(answer).encode())


def _wait(pid: int, seconds: float) -> int | None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def _run(request: dict[str, Any], ends: Sequence[int]) -> NoReturn:
    """Be the program."""
    code = 1
    try:
        for number, end in zip((1, 2), ends, strict=True):
            os.dup2(end, number)
            os.close(end)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        if request["limit"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["limit"], request["limit"]))
        code = _main(request["argv"])
        threading._shutdown()  # type: ignore[attr-defined]  # as Python does at its end, with the next
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _main(argv: Sequence[str]) -> int:
    """Run a script or module; its exit code."""
    module = argv[1] if argv[0] == "-m" else None
    sys.argv = list(argv[1:] if module else argv)
    try:
        if module:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, str(Path(argv[0]).parent))
            runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
