"""Rotation: a photo turned into a second view of the same person, and what reads both."""

from facet.rotation.fits import FITS, fit, register
from facet.rotation.gather import Gatherer, Render
from facet.rotation.head import Completion, Heads
from facet.rotation.rotator import Rotator, View
from facet.rotation.turn import ANGLE, FULL, given_pose, random_pose, second_pose

__all__ = [
    "ANGLE",
    "FITS",
    "FULL",
    "Completion",
    "Gatherer",
    "Heads",
    "Render",
    "Rotator",
    "View",
    "fit",
    "given_pose",
    "random_pose",
    "register",
    "second_pose",
]
