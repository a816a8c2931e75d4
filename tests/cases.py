"""The one table of cases that the tests of all backends share; it stands in the package, for `snnkern selftest`."""

from snnkern.selftest.cases import AXES, CASES, FEW, NEURONS, Case, pairwise

__all__ = ['AXES', 'CASES', 'FEW', 'NEURONS', 'Case', 'pairwise']
