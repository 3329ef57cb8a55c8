"""What makes images worse: functions that imitate cameras, and classes of which configurations make degradations."""

from datamodules.restoration.degradations.base import Chain, Degradation, try_degradation
from datamodules.restoration.degradations.blur import Bicubic, VaryingBlur
from datamodules.restoration.degradations.camera import (
    add_camera_noise,
    blur_varyingly,
    demosaic,
    draw_covariances,
    draw_smooth_field,
    expose,
    make_gaussian,
    reduce_resolution,
    resize_bicubic,
    to_bytes,
)
from datamodules.restoration.degradations.compression import JPEG
from datamodules.restoration.degradations.noise import CameraNoise, GaussianNoise

__all__ = [
    "JPEG",
    "Bicubic",
    "CameraNoise",
    "Chain",
    "Degradation",
    "GaussianNoise",
    "VaryingBlur",
    "add_camera_noise",
    "blur_varyingly",
    "demosaic",
    "draw_covariances",
    "draw_smooth_field",
    "expose",
    "make_gaussian",
    "reduce_resolution",
    "resize_bicubic",
    "to_bytes",
    "try_degradation",
]
