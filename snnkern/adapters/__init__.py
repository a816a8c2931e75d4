"""Other libraries' networks on our kernels: `accelerate(model)`, `undo(model)`, what was done, `explain(model)`, and
`unroll(model)` for networks that go step by step through their layers. `snnkern.adapters.nir` exchanges NIR graphs."""

from snnkern.adapters._report import Explanation, explain
from snnkern.adapters._swap import LIBRARIES, accelerate, undo
from snnkern.adapters._unroll import unroll

__all__ = ['LIBRARIES', 'Explanation', 'accelerate', 'explain', 'undo', 'unroll']
