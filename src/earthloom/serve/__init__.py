"""A project's maps as a web page on this machine: tiles, legend, and the class of a pixel."""

from earthloom.serve.app import make_app
from earthloom.serve.maps import ServedMap, maps_of
from earthloom.serve.server import serve_maps

__all__ = ["ServedMap", "make_app", "maps_of", "serve_maps"]
