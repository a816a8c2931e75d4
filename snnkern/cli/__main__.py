"""`python -m snnkern.cli` is `snnkern`."""

from snnkern.cli import app

app(prog_name='snnkern')
