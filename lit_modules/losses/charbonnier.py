"""Charbonnier loss."""

from torch import Tensor, nn


class Charbonnier(nn.Module):
    """Mean of √(d² + ε²) over all values: a mean absolute error that is smooth where the difference d is zero.

    Args:
        epsilon: ε, in the unit of the images.

    Raises:
        ValueError: If ``epsilon`` is not positive.

    Reference:
        Charbonnier, Blanc-Féraud, Aubert, Barlaud, *Two Deterministic Half-Quadratic Regularization Algorithms for
        Computed Imaging*, ICIP 1994.
    """

    def __init__(self, epsilon: float = 1e-3) -> None:
        super().__init__()
        if epsilon <= 0:
            raise ValueError(f"epsilon must be above 0, got {epsilon}")
        self.epsilon = epsilon

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare a prediction with its target.

        Args:
            prediction: Of any shape.
            target: The same shape.

        Returns:
            Scalar, float32.
        """
        # ε² is lost in half precision.
        difference = prediction.float() - target.float()
        return (difference.square() + self.epsilon**2).sqrt().mean()
