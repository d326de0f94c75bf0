"""Fast models that are fitted to a data set: `ffr3d fit`."""
