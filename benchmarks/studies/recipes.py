"""What the weights in ``weights/`` are trained by: configurations, folders of data, and what is measured of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Stage(NamedTuple):
    """A training.

    Attributes:
        config: The experiment's YAML file.
        folders: Arguments of its data that are folders → their paths below the folder of all data.
        mixed: Such a path, of the photographs that its data are mixed with; none: None.
        arguments: Further arguments of ``fit``.
        name: Of its folder of runs, where another stage has the same file. Default: the file's.
    """

    config: str
    folders: Mapping[str, str]
    mixed: str | None = None
    arguments: Sequence[str] = ()
    name: str | None = None

    @property
    def folder(self) -> str:
        """Its folder among those of the recipe's other stages."""
        return self.name or Path(self.config).stem


class Recipe(NamedTuple):
    """How weights come about, and what a reader of their card must know.

    Attributes:
        task: What the network does.
        stages: Trainings, each of which starts from the weights of the one before; the last one's are kept.
        metrics: Names of test metrics → digits after the point that are quoted.
        tests: Held-out data → further arguments of ``test``, ``{data}`` for the folder of all data.
        data: What it is trained on, with its source.
        licence: Of that data.
        limits: What it is not good for.
    """

    task: str
    stages: Sequence[Stage]
    metrics: Mapping[str, int]
    tests: Mapping[str, Sequence[str]]
    data: str
    licence: str
    limits: str


_PSNR = {"test/psnr": 2, "test/ssim": 4, "test/psnr_input": 2, "test/ssim_input": 4}
_PSNR_Y = {"test/psnr_y": 2, "test/ssim_y": 4, "test/psnr_y_input": 2, "test/ssim_y_input": 4}
_ERRORS = {"test/top1_error": 2, "test/top5_error": 2}
_CITY100 = (
    "City100 (Chen et al., Camera Lens Super-Resolution, CVPR 2019, https://github.com/ngchc/CameraSR): "
    "printed postcards, photographed at two focal lengths"
)
_CITY100_LICENCE = "MIT, © 2019 Chang Chen"
_GREY = {"clean_dir": "grey/Train400", "test_clean_dir": "grey/BSD68"}
_SIGMA = "--data.init_args.degradation.init_args.sigma"
_SET12 = "--data.init_args.test_clean_dir={data}/grey/Set12"
_SELF_ENSEMBLE = "--model.init_args.self_ensemble=true"


def _zoom(scale: int, folder: str, camera: str) -> Recipe:
    return Recipe(
        task=f"photographs that were enlarged {scale} times made as sharp as {scale} times the focal length is; RGB",
        stages=[Stage(f"configs/pretrained/zoom_x{scale}.yaml", {"data_dir": folder})],
        metrics=_PSNR_Y,
        tests={f"City100, {camera}, its 5 test pairs": []},
        data=f"{_CITY100}; the {camera} part",
        licence=_CITY100_LICENCE,
        limits=(
            "Images that were reduced by a program, drawings, and text: it knows the blur of one lens. It invents no "
            "detail, and five test pairs of prints say little of other photographs."
        ),
    )


def _cifar(classes: int) -> Recipe:
    return Recipe(
        task=f"one of the {classes} classes of CIFAR-{classes}; RGB, 32 × 32 pixels",
        stages=[Stage(f"configs/pretrained/cifar{classes}.yaml", {"data_dir": ""})],
        metrics=_ERRORS,
        tests={f"CIFAR-{classes}, its 10,000 test images": []},
        data=(
            f"CIFAR-{classes} (Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009, "
            "https://www.cs.toronto.edu/~kriz/cifar.html): 45,000 of its training images"
        ),
        licence="none is stated; it is published for research",
        limits="Photographs of anything else: it names one of its classes, whatever it is shown. Images are shrunk.",
    )


RECIPES: dict[str, Recipe] = {
    "denoise_real": Recipe(
        task="noise of cameras removed from photographs; RGB",
        stages=[
            Stage("configs/pretrained/denoise_camera.yaml", {"clean_dir": "city100_nikon"}),
            Stage("configs/pretrained/denoise_real.yaml", {"data_dir": "polyu"}, mixed="city100_nikon"),
        ],
        metrics=_PSNR,
        tests={"PolyU, 64 blocks of 6 held-out scenes": []},
        data=(
            "PolyU (Xu et al., Real-world Noisy Image Denoising: A New Benchmark, 2018, "
            "https://github.com/csjunxu/PolyU-Real-World-Noisy-Images-Dataset): photographs of still scenes and the "
            f"mean of many of each; beside these, and before, camera-like noise on {_CITY100}"
        ),
        licence=f"PolyU: BSD-style, © 2018 The Hong Kong Polytechnic University; City100: {_CITY100_LICENCE}",
        limits=(
            "Photographs that are sharp and hardly noisy, which it may smooth; very strong noise, films, JPEG's "
            "blocks, and blur, which it leaves as it is."
        ),
    ),
    "denoise_gaussian": Recipe(
        task="white Gaussian noise of any σ from 5 to 50 of 255 removed from images; grey",
        stages=[
            Stage("configs/pretrained/denoise_gaussian_shallow.yaml", _GREY),
            Stage("configs/pretrained/denoise_gaussian.yaml", _GREY),
            Stage(
                "configs/pretrained/denoise_gaussian.yaml",
                _GREY,
                arguments=[
                    "--trainer.callbacks+=FreezeBatchNorms",
                    "--trainer.max_epochs=4",
                    "--model.init_args.optimizer.init_args.lr=0.0003",
                    "--model.init_args.lr_scheduler.init_args.T_max=4",
                ],
                name="denoise_gaussian_frozen",
            ),
        ],
        metrics=_PSNR,
        tests={
            **{f"BSD68, σ = {sigma}": [f"{_SIGMA}={sigma}"] for sigma in (15, 25, 50)},
            "Set12, σ = 25": [f"{_SIGMA}=25", _SET12],
            "BSD68, σ = 25, mean of eight turns and flips": [f"{_SIGMA}=25", _SELF_ENSEMBLE],
            "Set12, σ = 25, mean of eight turns and flips": [f"{_SIGMA}=25", _SET12, _SELF_ENSEMBLE],
        },
        data=(
            "the 400 images of 180 × 180 pixels of Chen and Pock (Trainable Nonlinear Reaction Diffusion, 2017), parts "
            "of the Berkeley Segmentation Dataset, as in https://github.com/cszn/DnCNN"
        ),
        licence="none is stated; the dataset is published for research",
        limits="Noise of cameras, which depends on the signal and is correlated: take denoise_real. Images in colour.",
    ),
    "zoom_x2": _zoom(2, "city100_canon", "iPhone"),
    "zoom_x3": _zoom(3, "city100_nikon", "Nikon"),
    "crowd_rendered": Recipe(
        task="heads counted in pictures of crowds; RGB",
        stages=[
            Stage(
                "configs/crowd/synthetic_acda.yaml",
                {"data_dir": "synthetic_crowd"},
                arguments=[
                    "--data.init_args.num_train=900",
                    "--trainer.max_epochs=8",
                    "--model.init_args.lr_scheduler.init_args.total=8",
                ],
            )
        ],
        metrics={"test/mae": 1, "test/rmse": 1, "test/nae": 3},
        tests={"rendered crowds, the test scenes": []},
        data="crowds that this project renders: figures in perspective before backdrops",
        licence="that of this project",
        limits="Photographs: it has seen rendered figures only. It is a start for training on one's own.",
    ),
    "cifar10": _cifar(10),
    "cifar100": _cifar(100),
}
"""Name of the weights → how they are made."""
