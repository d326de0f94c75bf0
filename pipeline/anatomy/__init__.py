"""Centrelines, cross-sections, ends and lesions of a lumen surface."""
