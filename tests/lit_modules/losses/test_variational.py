import math
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from scipy import integrate, stats
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from lit_modules.losses import VariationalLoss, VariationalTerms

SHAPE = (1, 1, 8, 8)


ALPHA0 = 23.5


FULL = partial(torch.full, SHAPE)


# r, m², α, β, y − x: a posterior near its prior, one far from it, one that is certain, one that is hardly peaked.
CASES = [
    (0.1, 1e-3, 20.0, 0.2, 0.1),
    (-0.3, 0.05, 3.0, 0.5, 0.2),
    (0.02, 1e-6, 400.0, 3.0, -0.05),
    (0.5, 0.2, 1.3, 0.02, 0.4),
]


def terms(r: float, m2: float, alpha: float, beta: float, noise: float) -> VariationalTerms:
    """The loss of images whose pixels are all alike; the local variance is then the square of the noise."""
    clean = FULL(0.25)
    return VariationalLoss()(FULL(r), FULL(m2).log(), FULL(alpha).log(), FULL(beta).log(), clean + noise, clean)


@pytest.mark.parametrize("case", CASES)
def test_likelihood_is_its_expectation(case: tuple[float, ...]) -> None:
    """Draw σ² and z from the posteriors and average −ln N(y; z, σ²)."""
    r, m2, alpha, beta, _ = case
    y = 0.7
    variance = stats.invgamma(alpha, scale=beta).rvs(400_000, random_state=0)
    z = stats.norm(y - r, math.sqrt(m2)).rvs(400_000, random_state=1)
    draws = -stats.norm(z, np.sqrt(variance)).logpdf(y)
    error = draws.std() / math.sqrt(draws.size)
    assert abs(terms(*case).lh.item() - draws.mean()) < 4 * error
    assert error < 0.05


@pytest.mark.parametrize("case", CASES)
def test_divergence_of_the_variance_is_its_expectation(case: tuple[float, ...]) -> None:
    """Draw σ² from the posterior and average ln q − ln p; then the same integral by quadrature over ln σ²."""
    _, _, alpha, beta, noise = case
    q, p = stats.invgamma(alpha, scale=beta), stats.invgamma(ALPHA0, scale=24.5 * noise**2)
    value = terms(*case).kl_sigma.item()

    variance = q.rvs(400_000, random_state=2)
    draws = q.logpdf(variance) - p.logpdf(variance)
    error = draws.std() / math.sqrt(draws.size)
    assert abs(value - draws.mean()) < 4 * error + 1e-4 * abs(value)

    def integrand(log_variance: float) -> float:
        v = math.exp(log_variance)
        return float(q.pdf(v) * v * (q.logpdf(v) - p.logpdf(v)))

    low, high = np.log(q.ppf([1e-13, 1 - 1e-13]))
    expected, _ = integrate.quad(integrand, low, high, limit=500, points=[math.log(beta / alpha)])
    assert value == pytest.approx(expected, rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_divergence_of_the_image_is_that_of_normal_distributions(case: tuple[float, ...]) -> None:
    r, m2, _, _, noise = case
    x = 0.25
    expected = kl_divergence(Normal(x + noise - r, math.sqrt(m2)), Normal(x, 1e-3))
    assert terms(*case).kl_z.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-4)


def test_divergences_of_the_priors_from_themselves_are_zero() -> None:
    same = terms(r=0.2, m2=1e-6, alpha=ALPHA0, beta=24.5 * 0.04, noise=0.2)
    assert same.kl_z.item() == pytest.approx(0, abs=1e-4)
    assert same.kl_sigma.item() == pytest.approx(0, abs=1e-4)


def test_the_loss_is_the_sum_of_means_over_all_values() -> None:
    both = [torch.cat([FULL(a), FULL(b)], dim=1) for a, b in zip(CASES[0], CASES[1], strict=True)]
    clean = torch.full_like(both[0], 0.25)
    together = VariationalLoss()(both[0], *(t.log() for t in both[1:4]), clean + both[4], clean)
    apart = [terms(*case) for case in CASES[:2]]
    for name in VariationalTerms._fields:
        mean = torch.stack([getattr(part, name) for part in apart]).mean()
        torch.testing.assert_close(getattr(together, name), mean, rtol=1e-5, atol=1e-5)
    assert together.loss.item() == pytest.approx(together.lh.item() + together.kl_z.item() + together.kl_sigma.item())


def test_local_variance_is_a_gaussian_filter_of_the_squared_noise() -> None:
    noise = torch.randn(2, 3, 20, 13) / 10
    squared = noise.double().square().numpy()
    found = VariationalLoss().local_variance(noise).double().numpy()
    np.testing.assert_allclose(found, gaussian_filter(squared, 3, mode="mirror", radius=3, axes=(2, 3)), rtol=1e-5)
    by_opencv = [
        [cv2.GaussianBlur(plane, (7, 7), 3, borderType=cv2.BORDER_REFLECT_101) for plane in image] for image in squared
    ]
    np.testing.assert_allclose(found, np.array(by_opencv), rtol=1e-5)


def test_local_variance_has_a_floor() -> None:
    assert torch.equal(VariationalLoss().local_variance(torch.zeros(SHAPE)), FULL(1e-10))


def random_case(dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], Tensor, Tensor]:
    clean = torch.rand(2, 3, 8, 8)
    return [torch.randn(2, 3, 8, 8).to(dtype) for _ in range(4)], clean + 0.1 * torch.randn(2, 3, 8, 8), clean


@pytest.mark.parametrize("bounds", [(low, a, b) for low in (0, 1) for a in (0, 1) for b in (0, 1)])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_gradients_are_finite_at_the_clamps(bounds: tuple[int, ...], noise: float) -> None:
    limits = math.log(1e-8), math.log(1e4)
    inputs = [FULL(0.5), *(FULL(limits[i]) for i in bounds)]
    for tensor in inputs:
        tensor.requires_grad_()
    result = VariationalLoss()(*inputs, FULL(noise), FULL(0.0))
    result.loss.backward()
    assert all(value.isfinite() for value in result)
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_change_the_loss(dtype: torch.dtype) -> None:
    outputs, noisy, clean = random_case(dtype)
    plain = VariationalLoss()(*(t.float() for t in outputs), noisy, clean)
    for tensor in outputs:
        tensor.requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        result = VariationalLoss()(*outputs, noisy, clean)
    assert all(value.dtype == torch.float32 for value in result)
    for value, expected in zip(result, plain, strict=True):
        assert value.item() == expected.item()
    (result.loss / 1e6).backward()
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in outputs)


def test_shapes_that_would_broadcast_are_refused() -> None:
    outputs, noisy, clean = random_case()
    outputs[2] = outputs[2][:, :1]
    with pytest.raises(ValueError, match=r"log_alpha.* must have one shape, got .*\[2, 1, 8, 8\]"):
        VariationalLoss()(*outputs, noisy, clean)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"window": 6}, "window must be odd and at least 3, got 6"), ({"epsilon2": 0}, "epsilon2 must be above 0, got 0")],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VariationalLoss(**arguments)
