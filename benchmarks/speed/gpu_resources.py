"""What the GPU kernels take of a multiprocessor, found by compiling them; no GPU is needed.

``python -m benchmarks.speed.gpu_resources`` for all architectures that the kernels are made for, or ``--arch 90`` for
that of the H100 alone. The layer is that of the paper's Table 6: 256 channels in and out, 100×100 pixels, six atoms.
"""

import os
import re
from collections.abc import Sequence
from itertools import product
from math import ceil
from pathlib import Path

import torch

from acda.ops.blocks import Block
from acda.ops.geometry import Geometry
from acda.ops.gpu.backend import Kernels
from acda.ops.gpu.launch import Launch
from benchmarks import records
from benchmarks.speed.disassembly import count_instructions, run_tool

CHANNELS = 256
SIDE = 100
NUM_ATOMS = 6
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
ARCHITECTURES = (80, 86, 89, 90, 100, 120)
HEADINGS = {
    "arch": "arch",
    "kernel": "kernel",
    "kernel_size": "l",
    "dtype": "dtype",
    "warps": "warps",
    "registers": "registers",
    "spilled_bytes": "spilled bytes",
    "shared_bytes": "shared bytes",
    "tensor_cores": "tensor cores",
    "instructions": "instructions",  # shown only
}


def plan_launches(kernel_size: int, dtype: torch.dtype, capability: tuple[int, int]) -> dict[str, Launch]:
    """Plan the launches of one layer, for one image, by what they compute.

    Args:
        kernel_size: Side of the kernel in pixels.
        dtype: Of the operands.
        capability: Compute capability of the GPU.
    """
    geometry = Geometry.of(kernel_size, padding="same")
    block = Block(slice(0, 1), slice(0, SIDE), slice(0, SIDE))
    x = torch.empty(1, SIDE, SIDE, CHANNELS, dtype=dtype, device="meta")
    planned: list[Launch] = []
    kernels = Kernels(planned.append, capability)
    taps = kernels.tap_layout(geometry, NUM_ATOMS).size, kernels.grad_layout(geometry).size
    atoms, grad, z = (x.new_empty(SIDE * SIDE, NUM_ATOMS, size) for size in (*taps, CHANNELS))
    kernels.convolve(x, atoms, block, geometry, z)
    kernels.gather(x, atoms, block, block, geometry, z)
    kernels.correlate(x, z, block, geometry, grad)
    return dict(zip(("forward", "gather", "correlate"), planned, strict=True))


def compile_launch(run: Launch, capability: tuple[int, int]) -> records.Row:
    """Compile the kernel of a launch, as Triton would to run it, and read what it takes.

    Args:
        run: What to compile.
        capability: Compute capability of the GPU.

    Returns:
        Registers and spilled bytes of a thread, shared bytes of a program, which tensor-core instruction is used, and,
        if all warps use it, how many instructions a thread executes.
    """
    import triton
    from triton.backends.compiler import GPUTarget

    from acda.ops.gpu import triton_kernels

    kernel = getattr(triton_kernels, run.kernel)
    signature: dict[str, str] = {}
    constants = {}
    aligned = {}
    for place, parameter in enumerate(kernel.params):
        value = run.arguments[parameter.name]
        if parameter.is_constexpr:
            signature[parameter.name] = "constexpr"
            constants[(place,)] = value
        elif isinstance(value, torch.Tensor):
            signature[parameter.name] = "*" + next(name for name, dtype in DTYPES.items() if dtype == value.dtype)
            aligned[(place,)] = [["tt.divisibility", 16]]
        else:
            signature[parameter.name] = "i32"
            if value % 16 == 0 and not parameter.do_not_specialize:
                aligned[(place,)] = [["tt.divisibility", 16]]
    source = triton.compiler.ASTSource(kernel, signature, constants, aligned)
    target = GPUTarget("cuda", 10 * capability[0] + capability[1], 32)
    compiled = triton.compile(source, target=target, options=dict(run.options))
    usage = run_tool("cuobjdump", compiled.asm["cubin"], "--dump-resource-usage")
    passes = ceil(run.arguments.get("part_channels", CHANNELS) / run.arguments["BLOCK_CHANNELS"])
    registers, stack = (int(re.findall(rf"{name}:(\d+)", usage)[-1]) for name in ("REG", "STACK"))
    multiply = re.findall(r"wgmma\.mma_async|mma\.sync|tcgen05\.mma", compiled.asm["ptx"])
    tensor_cores = multiply[0] if multiply else ""
    instructions = None
    if tensor_cores.startswith(("mma", "wgmma")):
        instructions = count_instructions(run_tool("nvdisasm", compiled.asm["cubin"], "-c"), passes)
    return {
        "registers": registers,
        "spilled_bytes": stack,  # the kernels have no arrays of their own: only spilled registers are on the stack
        "shared_bytes": compiled.metadata.shared,
        "tensor_cores": tensor_cores,
        "instructions": instructions,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Compile all kernels and show what they take.

    Args:
        arguments: Command line, by default the process's.

    Raises:
        SystemExit: If Triton is told to interpret kernels, so that there is nothing to compile.
    """
    parser = records.plain_parser("speed.gpu_resources", __doc__)
    parser.add_argument(
        "--arch",
        type=int,
        nargs="+",
        default=ARCHITECTURES,
        help="compute capabilities without their dot; default: all",
    )
    parser.add_argument("--kernel-size", type=int, nargs="+", default=(3, 5, 7), help="default: 3 5 7")
    parser.add_argument("--dtype", nargs="+", choices=tuple(DTYPES), default=tuple(DTYPES), help="default: all")
    parser.add_argument("--csv", type=Path, help="also write the rows here")
    options = parser.parse_args(arguments)
    if "TRITON_INTERPRET" in os.environ:
        parser.error("TRITON_INTERPRET must not be set")
    rows: list[records.Row] = []
    for arch, kernel_size, name in product(options.arch, options.kernel_size, options.dtype):
        capability = divmod(arch, 10)
        for kernel, run in plan_launches(kernel_size, DTYPES[name], capability).items():
            setting = {"kernel": kernel, "kernel_size": kernel_size, "dtype": name, "arch": arch}
            rows.append({**setting, "warps": run.options["num_warps"], **compile_launch(run, capability)})
    print(records.table(rows, HEADINGS))
    if options.csv is not None:
        records.write(options.csv, [{key: row[key] for key in row if key != "instructions"} for row in rows])


if __name__ == "__main__":
    main()
