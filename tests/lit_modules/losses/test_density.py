import numpy as np
import pytest
import torch

from lit_modules.losses import DensityLoss


def absolute_means(difference: np.ndarray, side: int) -> float:
    """Mean over squares, from the upper left on, of the absolute mean of what each holds of the map."""
    height, width = difference.shape
    means = [
        abs(difference[top : top + side, left : left + side].mean())
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]
    return float(np.mean(means))


@pytest.mark.parametrize(("shape", "sides"), [((8, 8), (2, 4, 8)), ((5, 7), (1, 3)), ((3, 11), (64,)), ((4, 4), ())])
def test_adds_absolute_errors_of_means_over_squares(shape: tuple[int, int], sides: tuple[int, ...]) -> None:
    prediction, target = torch.randn(2, 1, *shape, dtype=torch.float64), torch.randn(2, 1, *shape, dtype=torch.float64)
    differences = (prediction - target)[:, 0].numpy()
    absolute = sum(np.mean([absolute_means(difference, side) for difference in differences]) for side in sides)
    expected = np.square(differences).mean() + 0.7 * absolute
    assert float(DensityLoss(0.7, sides)(prediction, target)) == pytest.approx(expected)


def test_a_misplaced_head_is_less_than_a_missing_one() -> None:
    target = torch.zeros(1, 1, 16, 16)
    target[..., 8, 8] = 1
    moved, missing = target.roll(1, 3), torch.zeros_like(target)
    loss = DensityLoss(1.0, (4, 16))
    assert loss(target, target) == 0
    # Moved within its square: two values of 256 are wrong. Missing: one value, one of 16 squares by 1/16, the whole.
    assert float(loss(moved, target)) == pytest.approx(2 / 256)
    assert float(loss(missing, target)) == pytest.approx(3 / 256)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"weight": -1.0}, "weight must be at least 0, got -1.0"), ({"sides": (8, 0)}, r"sides must be .*, got \[8, 0\]")],
)
def test_refuses(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DensityLoss(**arguments)
