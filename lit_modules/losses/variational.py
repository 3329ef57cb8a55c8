"""Loss of variational denoising: the negative evidence lower bound of a noise model with a variance for each pixel."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import gaussian_blur  # type: ignore[import-untyped]

_MIN_VARIANCE = 1e-10


class VariationalTerms(NamedTuple):
    """The loss and what it is made of, scalars per value of the image, in nats.

    Attributes:
        loss: Sum of the three terms.
        lh: Expected negative log-likelihood of the noisy image.
        kl_z: Divergence of the latent clean image from its prior.
        kl_sigma: Divergence of the noise variance from its prior.
    """

    loss: Tensor
    lh: Tensor
    kl_z: Tensor
    kl_sigma: Tensor


class VariationalLoss(nn.Module):
    """Fits the posteriors of the clean image z and of the noise variance σ² to pairs of a noisy and a clean image.

    The noisy image is y ~ N(z, σ²). The priors are z ~ N(x, ε²) around the clean image x and σ² ~ IG(α₀, β₀), whose
    mode is the local mean ξ of (y − x)²: α₀ = p²/2 − 1, β₀ = p²/2 · ξ, as much as p × p samples would say. The
    posteriors are q(z) = N(y − r, m²) and q(σ²) = IG(α, β), independent.

    Args:
        window: Side p of the Gaussian window that ξ is taken over, odd; its σ is (p − 1)/2 pixels.
        epsilon2: Variance ε² of the latent image's prior.

    Raises:
        ValueError: If ``window`` is even or below 3, or ``epsilon2`` is not positive.

    Reference:
        Yue, Yong, Zhao, Zhang, Meng, *Variational Denoising Network: Toward Blind Noise Modeling and Removal*, NeurIPS
        2019, sections 3.1 and 3.2; paper section 4.3, Table 5.
    """

    def __init__(self, window: int = 7, epsilon2: float = 1e-6) -> None:
        super().__init__()
        if window < 3 or window % 2 == 0:
            raise ValueError(f"window must be odd and at least 3, got {window}")
        if epsilon2 <= 0:
            raise ValueError(f"epsilon2 must be above 0, got {epsilon2}")
        self.window = window
        self.epsilon2 = epsilon2

    def forward(
        self, residual: Tensor, log_m2: Tensor, log_alpha: Tensor, log_beta: Tensor, noisy: Tensor, clean: Tensor
    ) -> VariationalTerms:
        """Evaluate the loss in float32, also under autocast: 1/ε² is more than half precision holds.

        Args:
            residual: Predicted noise r ``[N, C, H, W]``.
            log_m2: Logarithm of the variance of z, the same shape, as are all others.
            log_alpha: Logarithm of the shape α of the inverse gamma distribution.
            log_beta: Logarithm of its scale β.
            noisy: Noisy images y, values in [0, 1].
            clean: Clean images x.

        Returns:
            The loss and its terms.

        Raises:
            ValueError: If the shapes differ.
        """
        shapes = [list(t.shape) for t in (residual, log_m2, log_alpha, log_beta, noisy, clean)]
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError(
                "residual, log_m2, log_alpha, log_beta, noisy and clean must have one shape, got "
                f"{', '.join(map(str, shapes))}"
            )
        with torch.autocast(residual.device.type, enabled=False):
            r, log_m2, log_alpha, log_beta = (t.float() for t in (residual, log_m2, log_alpha, log_beta))
            noise = noisy.float() - clean.float()
            m2, alpha = log_m2.exp(), log_alpha.exp()
            digamma = alpha.digamma()
            precision = (log_alpha - log_beta).exp()  # expected 1/σ²

            lh = 0.5 * (math.log(2 * math.pi) + log_beta - digamma + (r.square() + m2) * precision).mean()

            kl_z = 0.5 * (((r - noise).square() + m2) / self.epsilon2 - 1 - log_m2 + math.log(self.epsilon2)).mean()

            alpha0 = self.window**2 / 2 - 1
            beta0 = self.window**2 / 2 * self.local_variance(noise)
            log_normaliser = alpha0 * (log_beta - beta0.log()) + math.lgamma(alpha0) - alpha.lgamma()
            kl_sigma = ((alpha - alpha0) * digamma + log_normaliser + beta0 * precision - alpha).mean()
        return VariationalTerms(lh + kl_z + kl_sigma, lh, kl_z, kl_sigma)

    def local_variance(self, noise: Tensor) -> Tensor:
        """Gaussian mean ξ of the squared noise around each pixel, in each channel.

        Args:
            noise: y − x, ``[N, C, H, W]``, of at least (p + 1)/2 pixels a side.

        Returns:
            The same shape, at least 1e-10; the image is mirrored at its borders, which are not repeated.
        """
        sides, sigmas = [self.window] * 2, [(self.window - 1) / 2] * 2
        mean: Tensor = gaussian_blur(noise.square(), sides, sigmas)
        return mean.clamp(min=_MIN_VARIANCE)
