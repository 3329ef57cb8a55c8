"""Noise on what a network has drawn."""

import torch
from torch import nn


@torch.no_grad()
def noisy(module: nn.Module, std: float = 0.1) -> nn.Module:
    """With noise on all parameters, so that offsets, biases and the like, which begin at 0 or 1, count too."""
    for parameter in module.parameters():
        parameter += std * torch.randn_like(parameter)
    return module
