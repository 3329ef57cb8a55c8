"""The time that a device takes."""

import time

import torch


def read_clock(device: torch.device) -> float:
    """Read the clock, in seconds, when all that the device was given is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
