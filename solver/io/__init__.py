"""Files in and out of a parallel computation."""
