"""Things to do once a module has been imported, so that they are no reason to import it.

Telling PyTorch's compiler or its flop counter a single fact would import all of them: two seconds before anything is
computed.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TypeVar

_Call = Callable[[Any], object]
_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Finder(MetaPathFinder):
    """Finds what the other finders find, and remembers to make the calls that wait for it."""

    def __init__(self) -> None:
        self.waiting: defaultdict[str, list[_Call]] = defaultdict(list)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.waiting:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_call(module: ModuleType) -> None:
            execute(module)
            for call in self.waiting.pop(fullname, ()):
                call(module)

        spec.loader.exec_module = execute_and_call  # type: ignore[method-assign]
        return spec


_finder = _Finder()
sys.meta_path.insert(0, _finder)


def after_import(name: str, call: _Call) -> None:
    """Call a function with a module: now if that is imported, else as soon as it is.

    Args:
        name: Full name of the module.
        call: Takes the module.
    """
    module = sys.modules.get(name)
    if module is None:
        _finder.waiting[name].append(call)
    else:
        call(module)


def constant_to_compilers(function: _Function) -> _Function:
    """Have compiled code take a function's result for what it was when it was compiled.

    :func:`torch.compiler.assume_constant_result`, but that imports the compiler.
    """
    after_import("torch._dynamo", lambda dynamo: dynamo.assume_constant_result(function))
    return function
