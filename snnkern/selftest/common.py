"""Cases of the neurons that most networks are made of: backends have kernels of their own for them."""

from itertools import product
from random import Random

import torch

from snnkern import IF, LIF, PLIF, Affine, ATan, Binary, Hard, Neuron, Sigmoid, SignedMemory, Soft
from snnkern.selftest.cases import Case

# Pairs of charge, reset and element are types of CUDA's kernels; what stands within a reset are numbers of them.
CHARGES = (
    IF(c=0.1),
    LIF(2.0, 0.1),
    LIF(4.0, decay_input=False),
    LIF(3.0, -0.2, c=0.1),
    LIF(1.5, 0.1, decay_input=False),
    PLIF(0.3),
    Affine(0.9, 0.7, -0.05),
)
RESETS = (
    (Hard(-0.1), Hard(0.1, detach=True), Hard(-0.2, detach_v=True)),
    (Soft(), Soft(detach=True), Soft(detach_v=True)),
)
SURROGATES = ATan(2.0), Sigmoid(4.0)
DTYPES = torch.float32, torch.float16, torch.bfloat16


def common_cases(N: int, other: bool = False) -> list[Case]:
    """All pairs of charge, reset and dtype. Steps lie around groups of four and the chunks between checkpoints; other:
    with the surrogate that each has not had."""
    random, found = Random(0), []
    for i, (charge, resets, dtype) in enumerate(product(CHARGES, RESETS, DTYPES)):
        fire = random.choice((Binary(0.7), Binary(0.5, strict=True, real_units=True)))
        T, reset = random.choice((1, 3, 4, 5, 8, 16, 17, 40)), random.choice(resets)
        v0, state = random.choices((False, True), k=2)
        found.append(Case(Neuron(charge, fire, reset, SURROGATES[(i + other) % 2]), dtype, T, N, v0, state))
    return found


def converted_cases(N: int, T: int) -> list[Case]:
    """What the converter makes of a network: signed bursts with memory."""
    neuron = Neuron(IF(), SignedMemory(0.75, 5, real_units=True), Soft())
    return [Case(neuron, dtype, T, N, v0=True, state=True) for dtype in DTYPES]
