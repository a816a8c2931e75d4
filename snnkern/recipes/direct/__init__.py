"""Direct training with surrogate gradients: what `snnkern train CONFIG` and `snnkern predict` run."""
