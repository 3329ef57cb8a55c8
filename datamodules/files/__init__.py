from datamodules.files.listing import IMAGE_SUFFIXES, list_images, require_folder
from datamodules.files.precise_readers import read_precise
from datamodules.files.readers import read_image

__all__ = ["IMAGE_SUFFIXES", "list_images", "read_image", "read_precise", "require_folder"]
