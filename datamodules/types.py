"""Arrays that files of several folders speak of."""

from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""An image: uint8 ``[H, W, C]``, 0 to 255; C is 3 (RGB) or 1 (grey)."""

DeepPixels = npt.NDArray[np.uint16]
"""An image with 16 bits a channel: uint16 ``[H, W, C]``, 0 to 65535."""

AnyDepth = npt.NDArray[np.unsignedinteger[Any]]
"""An image with 8 or 16 bits a channel: uint8 or uint16 ``[H, W, C]``."""

Photograph = npt.NDArray[np.uint8 | np.float32]
"""An image of any channels ``[H, W, C]``: uint8, or float32 in [0, 1] where 8 bits would not hold it."""

Map = npt.NDArray[np.float32]
"""Numbers at places: float32 ``[H, W]``, or ``[H, W, C]`` with several at each."""

Points = npt.NDArray[np.float32]
"""Positions of heads in an image: float32 ``[N, 2]``, each (x, y) in pixels; (0, 0) is the centre of the upper left."""

Indices = npt.NDArray[np.int64]
"""Positions of samples in a data set: int64 ``[M]``."""
