"""What the GPU kernels take of a multiprocessor, found by compiling them; no GPU is needed.

``python -m benchmarks.speed.gpu_resources`` for the H100 and H200, or ``--arch 80`` for another compute capability. The
layer is that of the paper's Table 6: 256 channels in and out, 100×100 pixels, six atoms.
"""

import argparse
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from acda.ops.blocks import Block
from acda.ops.geometry import Geometry
from acda.ops.gpu.backend import Kernels
from acda.ops.gpu.launch import Launch
from benchmarks import records

CHANNELS = 256
SIDE = 100
NUM_ATOMS = 6
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
HEADINGS = {
    "kernel": "kernel",
    "kernel_size": "l",
    "dtype": "dtype",
    "warps": "warps",
    "registers": "registers",
    "spilled_bytes": "spilled bytes",
    "shared_bytes": "shared bytes",
    "tensor_cores": "tensor cores",
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
    taps = -(-(kernel_size**2) // Kernels.tap_multiple) * Kernels.tap_multiple
    x = torch.empty(1, SIDE, SIDE, CHANNELS, dtype=dtype, device="meta")
    atoms, z = (x.new_empty(SIDE * SIDE, NUM_ATOMS, size) for size in (taps, CHANNELS))
    planned: list[Launch] = []
    kernels = Kernels(planned.append, capability)
    kernels.convolve(x, atoms, block, geometry, z)
    kernels.gather(x, atoms, block, block, geometry, z)
    kernels.correlate(x, z, block, geometry, atoms)
    return dict(zip(("forward", "gather", "correlate"), planned, strict=True))


def compile_launch(run: Launch, capability: tuple[int, int]) -> records.Row:
    """Compile the kernel of a launch, as Triton would to run it, and read what it takes.

    Args:
        run: What to compile.
        capability: Compute capability of the GPU.

    Returns:
        Registers and spilled bytes of a thread, shared bytes of a program, and which tensor-core instruction is used.
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
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "kernel.cubin"
        binary.write_bytes(compiled.asm["cubin"])
        tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
        usage = subprocess.run(
            [tool, "--dump-resource-usage", binary], capture_output=True, text=True, check=True
        ).stdout
    registers, stack = (int(re.findall(rf"{name}:(\d+)", usage)[-1]) for name in ("REG", "STACK"))
    instructions = re.findall(r"wgmma\.mma_async|mma\.sync|tcgen05\.mma", compiled.asm["ptx"])
    return {
        "registers": registers,
        "spilled_bytes": stack,  # the kernels have no arrays of their own: only spilled registers are on the stack
        "shared_bytes": compiled.metadata.shared,
        "tensor_cores": instructions[0] if instructions else "",
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Compile all kernels and show what they take.

    Args:
        arguments: Command line, by default the process's.

    Raises:
        SystemExit: If Triton is told to interpret kernels, so that there is nothing to compile.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.gpu_resources",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--arch", type=int, default=90, help="compute capability without its dot (default 90)")
    parser.add_argument("--csv", type=Path, help="also write the rows here")
    options = parser.parse_args(arguments)
    if "TRITON_INTERPRET" in os.environ:
        parser.error("TRITON_INTERPRET must not be set")
    capability = divmod(options.arch, 10)
    rows: list[records.Row] = []
    for kernel_size in (3, 5, 7):
        for name, dtype in DTYPES.items():
            for kernel, run in plan_launches(kernel_size, dtype, capability).items():
                setting = {"kernel": kernel, "kernel_size": kernel_size, "dtype": name, "arch": options.arch}
                rows.append({**setting, "warps": run.options["num_warps"], **compile_launch(run, capability)})
    print(records.table(rows, HEADINGS))
    if options.csv is not None:
        records.write(options.csv, rows)


if __name__ == "__main__":
    main()
