"""Where there is no GPU, Triton's own functions are interpreted: it decides for each when it defines it.

Only tests that want the interpreter set the variable again, so that no other test meets it.
"""

from contextlib import suppress
from importlib import import_module

import pytest
import torch

if not torch.cuda.is_available():
    with pytest.MonkeyPatch.context() as environment, suppress(ImportError):
        environment.setenv("TRITON_INTERPRET", "1")
        import_module("triton")
