from datamodules.annotations.marks import Annotations, Marks, Unit, match_images, to_pixels
from datamodules.annotations.reading import read_annotations

__all__ = ["Annotations", "Marks", "Unit", "match_images", "read_annotations", "to_pixels"]
