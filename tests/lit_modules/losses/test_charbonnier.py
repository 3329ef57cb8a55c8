import pytest
import torch

from lit_modules.losses import Charbonnier


def test_charbonnier_by_hand() -> None:
    """√(3² + 4²) = 5 and √(0 + 4²) = 4."""
    loss = Charbonnier(epsilon=4)(torch.tensor([3.0, 1.0]), torch.tensor([0.0, 1.0]))
    assert loss.item() == pytest.approx(4.5)


def test_charbonnier_is_smooth_at_zero_in_half_precision() -> None:
    prediction = torch.zeros(4, dtype=torch.float16, requires_grad=True)
    loss = Charbonnier()(prediction, torch.zeros(4))
    loss.backward()
    assert loss.item() == pytest.approx(1e-3)
    assert prediction.grad is not None
    assert prediction.grad.tolist() == [0, 0, 0, 0]


def test_charbonnier_refuses_zero() -> None:
    with pytest.raises(ValueError, match="epsilon must be above 0, got 0"):
        Charbonnier(0)
