"""Event-driven inference on a CPU: a converted or directly trained network whose layers compute where spikes are."""

from snnkern.engine.plan import PlanError

__all__ = ['PlanError']
