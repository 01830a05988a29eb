"""The simulated Earth: ground truth, seasons, reflectance, backscatter, clouds and events.

One seed makes one landscape of a mid-latitude farming region: a river in its valley, brooks,
towns and roads, forests in stands, fields with crop calendars. For any day of its year the world
answers with its class map, surface reflectance, radar backscatter, biomass and sky, as arrays with
their truth, of any size, without a file::

    world = make_world(WorldSpec(seed=3, shape=Shape(256, 256)))
    image = observe(world.reflectance(180), BANDS, world.sky(180))
    truth = world.class_map(180)

Numpy alone is imported here. Modules import one way:

    classes, noise, spectra, canopy, sun -> bandpass, brdf, covers -> relief -> towns, fields
    -> land -> season -> likeness, surface, radar, biomass, events, sky -> heat -> earth
"""

from earthloom.world.bandpass import Instrument, instruments
from earthloom.world.brdf import Geometry
from earthloom.world.classes import CLASSES, LandClass
from earthloom.world.earth import World, WorldSpec, make_world
from earthloom.world.events import Event
from earthloom.world.noise import Extent, Shape, block_mean
from earthloom.world.radar import POLARISATIONS
from earthloom.world.sky import Sky, observe
from earthloom.world.spectra import BANDS, WAVELENGTH
from earthloom.world.sun import Sun

__all__ = [
    "BANDS",
    "CLASSES",
    "POLARISATIONS",
    "WAVELENGTH",
    "Event",
    "Extent",
    "Geometry",
    "Instrument",
    "LandClass",
    "Shape",
    "Sky",
    "Sun",
    "World",
    "WorldSpec",
    "block_mean",
    "instruments",
    "make_world",
    "observe",
]
