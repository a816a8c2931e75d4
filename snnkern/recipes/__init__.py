"""Whole programs built from the library; the command line runs them (`snnkern demo`)."""
