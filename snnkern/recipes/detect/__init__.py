"""Detectors from training to pictures with boxes: what `snnkern detect` runs."""
