"""Event-driven inference on a CPU: a converted or directly trained network whose layers compute where spikes are."""

from snnkern.engine.compiling import compile
from snnkern.engine.engine import Engine
from snnkern.engine.memory import Memory
from snnkern.engine.plan import PlanError
from snnkern.engine.report import Report
from snnkern.engine.save import load
from snnkern.engine.stream import Stream

__all__ = ['Engine', 'Memory', 'PlanError', 'Report', 'Stream', 'compile', 'load']
