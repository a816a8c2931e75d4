"""What generates documents: `python -m docs.neurons`."""
