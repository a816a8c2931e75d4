"""Encoders: static data [B, ...] as time [T, B, ...]. Functions, and modules of the same names in capitals.

Output has the dtype of the input. Intensities lie in [0, 1]; anything else is an error unless `check=False`.
"""

from snnkern.encode.fields import population, population_activity
from snnkern.encode.frames import odg, saccade
from snnkern.encode.modules import ODG, TTFS, Burst, Direct, Latency, Phase, Poisson, Population, Saccade
from snnkern.encode.rate import direct, poisson
from snnkern.encode.temporal import burst, latency, phase, ttfs

__all__ = [
    'ODG',
    'TTFS',
    'Burst',
    'Direct',
    'Latency',
    'Phase',
    'Poisson',
    'Population',
    'Saccade',
    'burst',
    'direct',
    'latency',
    'odg',
    'phase',
    'poisson',
    'population',
    'population_activity',
    'saccade',
    'ttfs',
]
