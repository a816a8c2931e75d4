"""Conversion without a trace: modules are replaced where they stand, for models that torch.fx cannot trace."""
