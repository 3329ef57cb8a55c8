"""What must be imported before anything else.

Where there is no GPU, Triton's own functions are interpreted: it decides for each when it defines it. Only tests that
want the interpreter set the variable again, so that no other test meets it.

Then Lightning. Python keeps types such as ``float | int | None`` under one key with ``int | float | None``: whichever a
process meets first stands for both, and decides whether the command line reads ``limit_test_batches: 1`` as one batch
or as all. The program meets Lightning's first; so must a process that runs its tests.

Several such processes (``pytest -n``) have one thread each: more of them would only wait for one another. Commands that
they run leave the process's allocator as it is, whose memory would only grow from one test to the next.
"""

import os
from contextlib import suppress
from importlib import import_module

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ACDA_KEEP_MEMORY", "0")

import torch

if not torch.cuda.is_available():
    with pytest.MonkeyPatch.context() as environment, suppress(ImportError):
        environment.setenv("TRITON_INTERPRET", "1")
        import_module("triton")
import_module("lightning.pytorch")
