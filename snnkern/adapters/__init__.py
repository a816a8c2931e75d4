"""Other libraries' networks on our kernels: `accelerate(model)`, `undo(model)` and what was done, `explain(model)`."""

from snnkern.adapters._report import Explanation, explain
from snnkern.adapters._swap import LIBRARIES, accelerate, undo

__all__ = ['LIBRARIES', 'Explanation', 'accelerate', 'explain', 'undo']
