"""Image classification."""

from collections.abc import Iterable, Sequence
from typing import Any

from lightning.pytorch import Callback
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchvision.transforms.v2 import MixUp  # type: ignore[import-untyped]

from datamodules.batches import ImageBatch, LabelledBatch
from lit_modules.callbacks import ClassificationReport, ClassPredictions
from lit_modules.errors import UsageError
from lit_modules.metrics import ErrorRate
from lit_modules.output import arrange_panels, draw_image
from lit_modules.tasks.base import Stage, StepOutput, Task


class ClassificationTask(Task):
    """Trains a classifier with cross-entropy and reports error rates in percent.

    Logs ``{train,val,test}/top1_error``, with more than five classes also ``top5_error``, and ``loss``. ``test`` also
    writes per-class results and the confusion matrix, and shows misclassified images; ``predict`` writes classes and
    probabilities.

    Args:
        network: Maps images ``[N, C, H, W]`` to logits ``[N, num_classes]``.
        num_classes: Number of classes.
        label_smoothing: Share of the target spread over all classes, 0 to 1.
        mixup_alpha: Train on mixtures of two images whose shares are from the Beta(α, α) distribution; 0 for none.
            Training's error rates then count the image with the larger share.
        class_names: Names of the classes that ``predict`` writes, so that it needs no data but its images. Default:
            those of the data.
        kwargs: Further arguments of :class:`Task`.

    Raises:
        ValueError: If ``num_classes`` is below 2, ``label_smoothing`` outside 0 to 1, or ``mixup_alpha`` negative,
            or ``class_names`` are not as many as the classes.

    Reference:
        Paper section 4.1, Tables 1 and 2. Zhang, Cisse, Dauphin, Lopez-Paz, *mixup: Beyond Empirical Risk
        Minimization*, ICLR 2018.
    """

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        *,
        label_smoothing: float = 0.0,
        mixup_alpha: float = 0.0,
        class_names: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing must be from 0 to 1, got {label_smoothing}")
        if mixup_alpha < 0:
            raise ValueError(f"mixup_alpha must be at least 0, got {mixup_alpha}")
        if class_names is not None and len(class_names) != num_classes:
            raise ValueError(f"class_names must be as many as num_classes={num_classes}, got {len(class_names)}")
        super().__init__(network, **kwargs)
        self.given_names = class_names
        self.num_classes = num_classes
        self.mixup = MixUp(alpha=mixup_alpha, num_classes=num_classes) if mixup_alpha else None
        self.loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        ranks = (1, 5) if num_classes > 5 else (1,)
        errors = MetricCollection({f"top{k}_error": ErrorRate(num_classes, k) for k in ranks})
        self.train_metrics = errors.clone(prefix="train/")
        self.val_metrics = errors.clone(prefix="val/")
        self.test_metrics = errors.clone(prefix="test/")

    @property
    def class_names(self) -> list[str]:
        """The names of the classes: in a prediction those given, else as the data module gives them, else indices."""
        if self.given_names is not None and self.trainer.predicting:
            return list(self.given_names)
        datamodule = getattr(self.trainer, "datamodule", None)
        names: list[str] = getattr(datamodule, "class_names", [str(i) for i in range(self.num_classes)])
        return names

    def setup(self, stage: str) -> None:
        """Make sure that there are as many classes as in the data.

        Raises:
            UsageError: If there are not.
        """
        if len(self.class_names) != self.num_classes:
            raise UsageError(
                f"num_classes={self.num_classes}, but the data has {len(self.class_names)} classes: set "
                "--model.init_args.num_classes, and that of the network, to as many"
            )

    def default_callbacks(self) -> list[Callback]:
        """Write results of test and predict."""
        return [*super().default_callbacks(), ClassificationReport(), ClassPredictions()]

    def step(self, batch: LabelledBatch, stage: Stage) -> StepOutput:
        """Take cross-entropy and error rates of a batch."""
        image, label, target = batch.image, batch.label, batch.label
        if stage == "train" and self.mixup is not None:
            image, target = self.mixup(image, label)  # target: a probability for each class
            label = target.argmax(dim=1)
        logits = self(image)
        if logits.shape[1:] != (self.num_classes,):
            raise UsageError(
                f"network must give logits of shape [N, num_classes={self.num_classes}], got {list(logits.shape)}: set "
                "--model.init_args.num_classes, and that of the network, "
                "--model.init_args.network.init_args.num_classes, to as many"
            )
        metrics: MetricCollection = getattr(self, f"{stage}_metrics")
        metrics.update(logits, label)
        self.log_dict(metrics, on_step=False, on_epoch=True, prog_bar=stage == "val", batch_size=len(batch.id))
        return StepOutput(self.loss(logits, target), logits)

    def pictures(self, batch: LabelledBatch, prediction: Tensor) -> Iterable[tuple[str, Tensor]]:
        """Draw misclassified images, each under its true and predicted class."""
        names = self.class_names
        guesses = prediction.argmax(dim=1)
        for i in (guesses != batch.label).nonzero()[:, 0].tolist():
            title = f"{names[batch.label[i]]} taken for {names[guesses[i]]}"
            yield f"{batch.id[i]}", arrange_panels([(title, draw_image(batch.image[i]))])

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """Give probabilities ``[N, num_classes]``."""
        probabilities: Tensor = self(batch.image).softmax(dim=1)
        return probabilities
