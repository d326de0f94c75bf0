"""Cohorts: many cases from one design, run side by side, with a ledger; a bad vessel does not stop the others."""

from pipeline.cohort.design import Design, load
from pipeline.cohort.run import run

__all__ = ["Design", "load", "run"]
