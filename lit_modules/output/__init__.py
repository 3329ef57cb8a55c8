from lit_modules.output.annotation_files import AnnotationFiles, FoundObjects
from lit_modules.output.image_files import (
    is_due,
    log_picture,
    png_path,
    restored_path,
    save_picture,
    write_png,
    write_restored,
)
from lit_modules.output.output_folder import gather, output_folder
from lit_modules.output.page_html import Entry, Picture
from lit_modules.output.panels import arrange_panels
from lit_modules.output.pictures import (
    cut_middle,
    draw_dots,
    draw_heat,
    draw_image,
    draw_photograph,
    find_change,
    overlay,
    spread_cells,
)
from lit_modules.output.prediction_page import NUM_SHOWN, PredictionPage, reduce_image
from lit_modules.output.result_files import NAME_ERRORS, ResultFiles, shorten
from lit_modules.output.row_writer import RowWriter, write_csv
from lit_modules.output.whole_file import name_in_errors, whole_file

__all__ = [
    "NAME_ERRORS",
    "NUM_SHOWN",
    "AnnotationFiles",
    "Entry",
    "FoundObjects",
    "Picture",
    "PredictionPage",
    "ResultFiles",
    "RowWriter",
    "arrange_panels",
    "cut_middle",
    "draw_dots",
    "draw_heat",
    "draw_image",
    "draw_photograph",
    "find_change",
    "gather",
    "is_due",
    "log_picture",
    "name_in_errors",
    "output_folder",
    "overlay",
    "png_path",
    "reduce_image",
    "restored_path",
    "save_picture",
    "shorten",
    "spread_cells",
    "whole_file",
    "write_csv",
    "write_png",
    "write_restored",
]
