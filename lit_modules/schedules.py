"""Learning rate schedules that PyTorch has only in pieces."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class WarmupCosineLR(LambdaLR):
    """Raise the rate linearly, then let it fall along half a cosine to zero.

    Args:
        optimizer: Whose rates to set; they are the highest.
        warmup: Epochs (or steps, as the task counts) of rise; the first has ``1 / (warmup + 1)`` of the rate.
        total: Epochs in all, warm-up included.

    Raises:
        ValueError: If ``warmup`` is negative or not below ``total``.
    """

    def __init__(self, optimizer: Optimizer, warmup: int, total: int) -> None:
        if not 0 <= warmup < total:
            raise ValueError(f"warmup must be from 0 to below total={total}, got {warmup}")

        def factor(epoch: int) -> float:
            if epoch < warmup:
                return (epoch + 1) / (warmup + 1)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (epoch - warmup) / (total - warmup))))

        super().__init__(optimizer, factor)
