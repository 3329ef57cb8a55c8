"""What a thread of a compiled GPU kernel executes, counted in its disassembly."""

import re
import subprocess
import tempfile
from pathlib import Path

_INSTRUCTION = re.compile(r"\s*/\*[0-9a-f]{4,}\*/\s+(.*?)\s*;")
_LABEL = re.compile(r"(\.L_x_\d+):")
_JUMP = re.compile(r"(?:BRA|CALL\.REL\.NOINC).*`\((\.L_x_\d+)\)")
_CONDITIONAL = re.compile(r"@|BRA\.U ")
_TENSOR_CORES = re.compile(r"\b(?:HGMMA|HMMA)\b")


def run_tool(tool: str, binary: bytes, *options: str) -> str:
    """Give what one of the tools that come with Triton says of a compiled kernel.

    Args:
        tool: ``"cuobjdump"`` or ``"nvdisasm"``.
        binary: The kernel.
        *options: The tool's options.
    """
    import triton

    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / tool
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(binary)
        return subprocess.run([path, *options, file], capture_output=True, text=True, check=True).stdout


def count_instructions(disassembly: str, passes: int) -> int:
    """Count the instructions that a thread executes up to the first exit, be it conditional.

    Of a kernel whose rare cases come after that, these are the instructions of the usual one. Branches forward are not
    taken: they leave out what there is nothing to do for.

    Args:
        disassembly: What ``nvdisasm`` prints.
        passes: How often the body of a loop is executed.

    Raises:
        ValueError: If no matrix was multiplied on the way, so that it is not that of a tile.
    """
    instructions: list[str] = []
    labels: dict[str, int] = {}
    for line in disassembly.splitlines():
        if found := _INSTRUCTION.match(line):
            instructions.append(found[1])
        elif found := _LABEL.match(line):
            labels[found[1]] = len(instructions)
    jumps = [labels[found[1]] if (found := _JUMP.search(one)) else None for one in instructions]
    count, at, products = 0, 0, 0
    left = dict.fromkeys(range(len(instructions)), passes - 1)
    while True:
        instruction, target = instructions[at], jumps[at]
        count += 1
        products += bool(_TENSOR_CORES.search(instruction))
        if "EXIT" in instruction:
            break
        if target is None:
            at += 1
        elif not _CONDITIONAL.match(instruction):
            at = target
        elif target <= at:  # back to the loop's first instruction
            left[at] -= 1
            at = target if left[at] >= 0 else at + 1
        elif (back := jumps[at + 1]) is not None and back <= at and not _CONDITIONAL.match(instructions[at + 1]):
            left[at] -= 1  # out of the loop, or else back
            at = at + 1 if left[at] >= 0 else target
        else:
            at += 1
    if not products:
        raise ValueError("no tensor-core instruction before the first exit")
    return count
