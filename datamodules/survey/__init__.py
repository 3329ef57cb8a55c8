"""What is stored of a data set: read once, counted, compared between splits, and drawn."""

from datamodules.survey.survey import Survey, take_survey

__all__ = ["Survey", "take_survey"]
