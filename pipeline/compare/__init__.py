"""Two runs side by side (`runs`), and fast models against the reference over a data set (`models`)."""

from pipeline.compare.runs import compare

__all__ = ["compare"]
