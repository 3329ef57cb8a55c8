"""How much memory is free, for layers that would rather refuse than be killed."""

from pathlib import Path

import torch

from acda.ops.after_import import constant_to_compilers


# A compiler cannot follow it: compiled code knows what was free when it was compiled.
@constant_to_compilers
def available_bytes(device: torch.device) -> int | None:
    """Memory free for new tensors on a device, or None if the system does not say (always on the meta device)."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    meminfo = Path("/proc/meminfo")
    if device.type != "cpu" or not meminfo.exists():
        return None
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else None


def refuse_over(what: str, nbytes: int, max_bytes: int | None, device: torch.device) -> None:
    """Refuse what does not fit; nothing is refused on the meta device.

    Args:
        what: What it is, for the message.
        nbytes: Its size.
        max_bytes: The limit; None for what is free on the device now, or no limit if the system does not say.
        device: Where it would lie.

    Raises:
        MemoryError: With the size and the limit.
    """
    if device.type == "meta":
        return
    limit = max_bytes if max_bytes is not None else available_bytes(device)
    if limit is not None and nbytes > limit:
        of = f"max_bytes={limit:,}" if max_bytes is not None else f"the {limit:,} free on {device}"
        raise MemoryError(f"{what} need {nbytes:,} bytes, more than {of}")
