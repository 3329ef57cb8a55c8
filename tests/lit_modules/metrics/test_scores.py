import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from lit_modules.metrics import MeanScore, Score, named_protocol
from lit_modules.metrics.protocols import PROTOCOLS


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    """Predictions that leave [0, 1] and are not of 8 bits, and targets that are."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 256, shape, generator=generator) / 255
    return target + 0.1 * torch.randn(shape, generator=generator), target


SHARES = ([[0, 1, 2, 3, 4], []], [[3, 0], [4, 2, 1]], [[4], [2, 0, 3, 1]])


def scored() -> list[list[Score]]:
    """Five images of unlike values, of different numbers of tiles, whose sum depends on the order if it is rounded."""
    values = torch.rand(11, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 40
    samples = [Score(*row) for row in values.tolist()]
    return [samples[:1], samples[1:4], samples[4:5], samples[5:9], samples[9:]]


def mean_of_shares(rank: int, rendezvous: str, results: str) -> None:
    """One of two processes: means of every way to share the images, also in a module of half precision."""
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    images = scored()
    means = []
    for shares in SHARES:
        metrics = PROTOCOLS["per_image"].metrics().to(torch.bfloat16)
        for i in shares[rank]:
            metrics.update([images[i]])
        means.append({name: value.item() for name, value in metrics.compute().items()})
    torch.save(means, f"{results}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_means_do_not_depend_on_how_processes_share_the_images(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(mean_of_shares, (f"file://{tmp_path}/meet", str(tmp_path)), nprocs=2)
    samples = [sample for image in scored() for sample in image]
    expected = {
        "psnr_y": math.fsum(sample.psnr for sample in samples) / 11,
        "ssim_y": math.fsum(sample.ssim for sample in samples) / 11,
    }
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt") == [expected] * len(SHARES)


class Scoring(LightningModule):
    """Takes each batch for a prediction and its target, and logs what metrics say of it."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol = named_protocol("per_image")
        self.metrics = self.protocol.metrics().clone(prefix="test/")

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.metrics.update(self.protocol.score(*batch))
        self.log_dict(self.metrics, on_step=False, on_epoch=True, batch_size=len(batch[0]))


def test_a_trainer_logs_the_means_and_starts_afresh() -> None:
    prediction, target = pair(5, 3, 16, 16)
    batches = DataLoader([(prediction[:3], target[:3]), (prediction[3:], target[3:])], batch_size=None)
    trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False)
    module = Scoring()
    scores = [score for (score,) in module.protocol.score(prediction, target)]
    for _ in range(2):
        (logged,) = trainer.test(module, batches, verbose=False)
        assert logged["test/psnr_y"] == pytest.approx(np.mean([score.psnr for score in scores]), abs=1e-6)
        assert logged["test/ssim_y"] == pytest.approx(np.mean([score.ssim for score in scores]), abs=1e-6)


def test_the_mean_keeps_double_precision() -> None:
    metric = MeanScore("psnr")
    metric.update([[Score(1 + 2**-40, 0)], [Score(1, 0)]])
    assert metric.compute().item() == 1 + 2**-41
