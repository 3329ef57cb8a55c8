import math

import pytest
import torch
from torch import nn

from lit_modules.schedules import WarmupCosineLR


def test_warm_up_then_half_a_cosine() -> None:
    parameter = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=0.8)
    schedule = WarmupCosineLR(optimizer, warmup=3, total=11)
    rates = []
    for _ in range(12):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[3:] == pytest.approx([0.4 * (1 + math.cos(math.pi * i / 8)) for i in range(9)])
    with pytest.raises(ValueError, match="warmup must be from 0 to below total=5, got 5"):
        WarmupCosineLR(optimizer, warmup=5, total=5)
