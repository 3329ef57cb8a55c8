"""Variational denoising."""

from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from acda.models import VariationalDenoiser
from lit_modules.callbacks import ClipBounds
from lit_modules.losses import VariationalLoss
from lit_modules.metrics import ProtocolName
from lit_modules.output import draw_heat
from lit_modules.tasks.base import StepOutput
from lit_modules.tasks.restoration import RestorationTask


class VariationalTask(RestorationTask):
    """Trains a denoiser together with a network that estimates the noise's variance at each pixel.

    Training minimises the negative evidence lower bound, logged as ``train/loss``, and its terms ``train/lh``,
    ``train/kl_z`` and ``train/kl_sigma``. It wants the gradients of the two networks clipped, as the authors do it by
    :class:`lit_modules.callbacks.ClipBounds` among the callbacks, and warns where they are not. Evaluation takes the
    restored images alone, as :class:`RestorationTask` does: ``{val,test}/loss`` is their mean squared error.

    Args:
        network: The two networks; gives y − r for noisy images y.
        loss: Compares the posteriors with the images; None: that of the paper.
        protocol: How images are scored, see :func:`lit_modules.metrics.named_protocol`.
        compile_network: Compile both networks in place.
        kwargs: Further arguments of :class:`RestorationTask`.

    Raises:
        ValueError: As :class:`RestorationTask`.

    Reference:
        Yue, Yong, Zhao, Zhang, Meng, *Variational Denoising Network: Toward Blind Noise Modeling and Removal*, NeurIPS
        2019; paper section 4.3, Table 5.
    """

    network: VariationalDenoiser

    def __init__(
        self,
        network: VariationalDenoiser,
        *,
        loss: VariationalLoss | None = None,
        protocol: ProtocolName = "sidd",
        compile_network: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(network, protocol=protocol, **kwargs)
        self.variational_loss = VariationalLoss() if loss is None else loss
        if compile_network:
            # Not the whole: training takes more of it than what a call gives.
            network.denoiser.compile()
            network.noise_estimator.compile()

    def on_fit_start(self) -> None:
        """Warn where nothing clips gradients."""
        bounded = any(issubclass(kind, ClipBounds) for kind in self.given_callbacks())
        if not bounded and self.trainer.gradient_clip_val is None:
            rank_zero_warn(
                "nothing clips the gradients of this variational training, which may diverge: add "
                "--trainer.callbacks+=lit_modules.callbacks.ClipBounds"
            )

    def train_on(self, image: Tensor, target: Tensor) -> StepOutput:
        """Take the loss of the posteriors; logs its terms."""
        posterior = self.network.posterior(image)
        loss, *terms = self.variational_loss(*posterior, image, target)
        names = ("train/lh", "train/kl_z", "train/kl_sigma")
        self.log_dict(dict(zip(names, terms, strict=True)), batch_size=len(image))
        return StepOutput(loss, (image - posterior.residual).detach())

    @torch.no_grad()
    def draw_maps(self, image: Tensor, restored: Tensor, target: Tensor) -> list[tuple[str, Tensor]]:
        """Draw the error and the noise's standard deviation, as it is around each pixel, and as it is estimated."""
        noisy, clean = self.take_channels(image[None]), self.take_channels(target[None])
        _, _, log_alpha, log_beta = self.network.posterior(noisy)
        alpha = log_alpha.float().exp()
        # The mean of the inverse gamma distribution, which is infinite for a small α.
        estimated = torch.where(alpha > 1, log_beta.float().exp() / (alpha - 1), torch.inf)
        measured = self.variational_loss.local_variance(noisy - clean)
        deviations = [variance[0].mean(dim=0).sqrt() for variance in (measured, estimated)]
        top = float(deviations[0].max())
        titles = (f"noise sigma, 0 to {top:.3f}", "estimated")
        noise = [(title, draw_heat(deviation, 0, top)) for title, deviation in zip(titles, deviations, strict=True)]
        return [*super().draw_maps(image, restored, target), *noise]
