"""Fast models: what they are given, what they must return, and honest baselines.

A model is a class with ``name`` and ``predict(vessel) -> Prediction``, without arguments to its constructor, named in
an entry point of the group ``ffr3d.fast_models``::

    [project.entry-points."ffr3d.fast_models"]
    mine = "my_package:MyModel"

Needs no solver and no mesh generator.
"""

from pipeline.fast.protocol import FastModel, Prediction, find
from pipeline.fast.vessel import Line, Vessel

__all__ = ["FastModel", "Line", "Prediction", "Vessel", "find"]
