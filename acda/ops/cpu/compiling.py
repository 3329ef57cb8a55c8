"""Compiles loops over pixels for this processor; they are kept on disk.

A loop is a function of one pointer to 64-bit integers: two counters, from which threads draw their work and their
number, then what the loop's named tuples list, in their order, then two tables. :func:`places` tells which is where.
Addresses, offsets and strides are in bytes.
Any number of threads may run a loop on the same numbers at once; together they do what one does alone.

A pixel's taps are a rectangle; how large it is and where it starts hangs on the pixel's row and column alone. The
tables hold, for each row and then for each column, three numbers: how many taps, and two offsets of the first one.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from llvmlite import binding
from llvmlite.binding import get_host_cpu_features
from numba import cfunc, types

from acda.ops.cpu import kept_code

_log = logging.getLogger(__name__)
_SIGNATURE = types.void(types.CPointer(types.int64))
_ENTRY = "loop"  # name of the function in an object file
_ANYWHERE = {"memcpy", "memmove", "memset", "sqrt"}  # functions that every process has
_SECONDS = 9  # of one core, for the thirteen loops of a narrow layer that is trained
_in_use: list[Any] = []  # keeps alive what addresses point into

WORK, THREAD = 0, 1  # places of the counters
GROUP = 6  # atoms or pixels that are combined in one tile


class Registers(NamedTuple):
    """Sizes of the tiles that fill a processor's vector registers without spilling."""

    lanes: int
    vectors: int  # of channels, in a tile of combine beside GROUP results
    correlated: int  # results in a tile of correlate, beside four columns


@cache
def registers(double: bool) -> Registers:
    """Sizes of tiles for this processor."""
    features = get_host_cpu_features()
    if features.get("avx512f"):
        return Registers(8 if double else 16, 4, 6)
    if features.get("avx2"):
        return Registers(4 if double else 8, 2, 3)
    if features.get("neon"):
        return Registers(4, 2 if double else 4, 3 if double else 6)
    return Registers(4, 1 if double else 2, 3)


def places(*tuples: type[NamedTuple]) -> tuple[Any, ...]:
    """Where the numbers of a loop's named tuples lie after its pointer.

    Returns:
        Each of the tuples with the places of its fields in them, and last the place of the tables.
    """
    place, found = THREAD + 1, []
    for fields in tuples:
        found.append(fields._make(range(place, place + len(fields._fields))))
        place += len(fields._fields)
    return *found, place


def address(loop: Callable[[Any], None]) -> int:
    """Compile a loop, unless its machine code is on disk.

    Args:
        loop: The function of a pointer. Of what is around it, it may use numbers and tuples of them alone. Division by
            zero is not noticed in it.

    Returns:
        Address of the compiled function.
    """
    name = kept_code.file_name(loop)
    code = kept_code.load(name)
    if code is None:
        _tell()
        compiled = cfunc(_SIGNATURE, error_model="numpy")(loop)
        code = _machine_code(compiled.inspect_llvm(), compiled.native_name)
        if code is None:
            _in_use.append(compiled)
            place: int = compiled.address
            return place
        kept_code.store(name, code)
    return _link(code)


@cache
def _tell() -> None:
    _log.info("Compiling the loops of adaptive convolutions for this processor: once, about %d s", _SECONDS)


def _target_machine() -> binding.TargetMachine:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = binding.get_host_cpu_features().flatten()
    return binding.Target.from_triple(binding.get_process_triple()).create_target_machine(
        cpu=binding.get_host_cpu_name(), features=features, opt=3, codemodel="jitdefault", jit=True
    )


def _machine_code(text: str, entry: str) -> bytes | None:
    """Translate a module of which one function is called, and that calls nothing of numba's.

    Args:
        text: In LLVM's language, optimised.
        entry: The function; it is renamed.

    Returns:
        An object file; None if it needs what only numba has.
    """
    module = binding.parse_assembly(text)
    for value in [*module.functions, *module.global_variables]:
        if value.name == entry:
            value.name = _ENTRY
        elif not value.is_declaration:
            value.linkage = "internal"
    # The loops raise no errors; with that known, what reports them goes.
    passes = binding.create_new_module_pass_manager()
    passes.add_ipsccp_pass()
    passes.add_simplify_cfg_pass()
    passes.add_global_dead_code_eliminate_pass()
    machine = _target_machine()
    passes.run(module, binding.create_pass_builder(machine, binding.create_pipeline_tuning_options()))
    needed = {value.name for value in [*module.functions, *module.global_variables] if value.is_declaration}
    if outside := sorted(name for name in needed - _ANYWHERE if not name.startswith("llvm.")):
        _log.info("a compiled loop is not kept on disk: it needs %s", ", ".join(outside))
        return None
    code: bytes = machine.emit_object(module)
    return code


def _link(code: bytes) -> int:
    """Load an object file; address of its function."""
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _target_machine())
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _in_use.append(engine)
    place: int = engine.get_function_address(_ENTRY)
    return place
