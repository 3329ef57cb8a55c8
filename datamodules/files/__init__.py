from datamodules.files.listing import IMAGE_SUFFIXES, existing_folder, list_images
from datamodules.files.precise_readers import read_precise
from datamodules.files.readers import read_image

__all__ = ["IMAGE_SUFFIXES", "existing_folder", "list_images", "read_image", "read_precise"]
