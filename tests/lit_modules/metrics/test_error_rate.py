import numpy as np
import pytest
import torch

from lit_modules.metrics import ErrorRate


@pytest.mark.parametrize("top_k", [1, 5])
def test_error_rate_is_the_share_in_percent(top_k: int) -> None:
    logits, labels = torch.randn(50, 8), torch.randint(0, 8, (50,))
    metric = ErrorRate(8, top_k)
    metric.update(logits[:20], labels[:20])
    metric.update(logits[20:], labels[20:])
    order = np.argsort(-logits.numpy(), axis=1)[:, :top_k]
    misses = [label not in guesses for label, guesses in zip(labels.tolist(), order.tolist(), strict=True)]
    assert metric.compute().item() == pytest.approx(100 * np.mean(misses), abs=1e-4)
