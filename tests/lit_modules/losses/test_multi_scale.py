import numpy as np
import pytest
import torch

from lit_modules.losses import MultiScaleL1


def by_hand(difference: np.ndarray, size: int) -> float:
    """Mean over squares, from the upper left on, of the absolute mean of what each holds of the map."""
    height, width = difference.shape
    means = [
        abs(difference[top : top + size, left : left + size].mean())
        for top in range(0, height, size)
        for left in range(0, width, size)
    ]
    return float(np.mean(means))


@pytest.mark.parametrize(
    ("shape", "levels", "sizes"), [((8, 8), 7, (1, 2, 4, 8)), ((5, 7), 3, (1, 2, 4)), ((3, 11), 7, (1, 2, 4, 8, 16))]
)
def test_sums_up_absolute_means_over_squares(shape: tuple[int, int], levels: int, sizes: tuple[int, ...]) -> None:
    prediction, target = torch.randn(2, 1, *shape, dtype=torch.float64), torch.randn(2, 1, *shape, dtype=torch.float64)
    differences = (prediction - target)[:, 0].numpy()
    expected = sum(np.mean([by_hand(difference, size) for difference in differences]) for size in sizes)
    assert float(MultiScaleL1(levels)(prediction, target)) == pytest.approx(expected)


def test_knows_a_misplaced_head_from_a_missing_one() -> None:
    target = torch.zeros(1, 1, 16, 16)
    target[..., 8, 8] = 1
    moved, missing = target.roll(1, 3), torch.zeros_like(target)
    loss = MultiScaleL1()
    assert loss(target, target) == 0
    # Moved by a value: at size 1 two values are wrong, from 2 on none. Missing: one value at each of five sizes.
    assert float(loss(moved, target)) == pytest.approx(2 / 256)
    assert float(loss(missing, target)) == pytest.approx(5 / 256)


def test_refuses_no_levels() -> None:
    with pytest.raises(ValueError, match="levels must be at least 1, got 0"):
        MultiScaleL1(0)
