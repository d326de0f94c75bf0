"""Cohorts: many cases from one design, run side by side, with a ledger; a bad vessel does not stop the others."""
