"""Data sets of labels: written from a cohort, verified, read by torch. Needs no solver, no mesh generator, no torch."""
