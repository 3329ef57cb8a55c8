"""Who looks on at a module, so that it must be called as it is."""

from torch import nn
from torch.nn.modules import module as every_module

_HOOKS = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")


def is_observed(module: nn.Module) -> bool:
    """Tell whether calling a module does more than its class says: hooks on it, or on all modules."""
    own = any(getattr(module, f"_{name}") for name in _HOOKS)
    return own or any(getattr(every_module, f"_global_{name}") for name in _HOOKS) or "forward" in vars(module)
