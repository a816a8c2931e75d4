"""`python -m snnkern` is `snnkern`."""

from snnkern.cli import app

app(prog_name='snnkern')
