"""Tasks: what is predicted. A task has a head, a loss, metrics, and a way to make a map."""

from earthloom.tasks.heads import Head
from earthloom.tasks.pixel_classes import PixelClasses, decide

__all__ = ["Head", "PixelClasses", "decide"]
