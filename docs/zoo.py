"""Neurons by name: what gives each of them here, or why nothing does. docs/neurons.py makes tables of it.

A test evaluates every expression and runs it, and compares it with the preset of the same line.
"""

from typing import NamedTuple

FUSED, REFERENCE, OUT = 'fused', 'reference', 'out of scope'
BIT, FLIP, CLOSE = 'to the bit', 'to the first flip', 'to rounding errors'


class Entry(NamedTuple):
    """name: of the neuron. mark: fused (kernels run it), reference (plain torch), out of scope. how: the expression.

    note: what is needed around it, where it ends, or why there is nothing. preset: the same neuron in
    snnkern.presets. compared: how far a test found the original and this equal; '' where none compares them.
    """

    name: str
    mark: str
    how: str = ''
    note: str = ''
    preset: str = ''
    compared: str = ''


CHARGE = [
    Entry('IF', FUSED, 'Neuron(IF())', 'dt is a factor of x.', '', BIT),
    Entry('LIF, input decays', FUSED, 'Neuron(LIF(2.0))', '', '', BIT),
    Entry('LIF, input does not decay', FUSED, 'Neuron(LIF(2.0, decay_input=False))', '', '', BIT),
    Entry('Leaky', FUSED, 'Neuron(Affine(0.9))', 'beta is `a`; `nn.Leaky` clamps it to 0..1.', '', BIT),
    Entry('PLIF', FUSED, 'Neuron(PLIF(0.5))', '`nn.ParametricLIF` learns w, k = sigmoid(w).', '', BIT),
    Entry('BiasLIF', FUSED, 'Neuron(LIF(2.0, c=0.1))', '', '', BIT),
    Entry('BiasPLIF', FUSED, 'Neuron(PLIF(0.5, c=0.1))', '', '', FLIP),
    Entry('STDP-LIF', FUSED, 'Neuron(Affine(2.0))', '', '', BIT),
    Entry(
        'Hybrid (Wu et al. 2022)',
        FUSED,
        'Neuron(Affine(0.4), Binary(0.35, strict=True), Soft(), Rectangle(2.0))',
        'Its reset comes before the next decay: the state it keeps is our h, and 0.4 * (h - theta * s) is what a soft'
        ' reset leaves to decay. The plastic weights of the paper are not part of the neuron.',
        'wu2022.hybrid',
    ),
]

FIRE = [
    Entry('binary', FUSED, 'Neuron(LIF(), Binary(1.0))', '`strict=True` for >.', '', BIT),
    Entry('burst', FUSED, 'Neuron(IF(), Burst(1.0, 5), Soft())', '', 'braincog.SNode', BIT),
    Entry('spikes without a limit', FUSED, 'Neuron(IF(), MultiSpike(), Soft())', '`Burst` takes the surrogate at every'
          ' threshold that it counts, this one at the first.', '', BIT),
    Entry('ternary', FUSED, 'Neuron(LIF(), Ternary(0.5))', '', '', BIT),
    Entry('imbalanced signed (Spiking-YOLO)', FUSED, 'Neuron(IF(), Signed.leaky(0.1, real_units=True), Soft())', '',
          'spiking-yolo'),
    Entry('signed with memory (SNM)', FUSED, 'Neuron(IF(), SignedMemory(1.0, 1, False, -1.0), Soft())', '', 'snm'),
    Entry('signed with memory (Fast-SNN)', FUSED, 'Neuron(IF(), SignedMemory(1.0, 1, False, -1e-3), Soft())', '',
          'fast-snn'),
    Entry('signed burst with memory', FUSED, 'Neuron(IF(), SignedMemory(1.0, 15, True), Soft())', '', 'signed-burst'),
    Entry('integer (I-LIF, SpikeYOLO)', FUSED,
          'Neuron(LIF(4 / 3, decay_input=False), Integer(1.0, 4), Soft(), Rectangle(2.0))', '', 'i-lif', FLIP),
    Entry('adaptive threshold (ALIF of LSNN)', FUSED,
          'Neuron(LIF(20.0, decay_input=False), Adaptive(1.0, 0.2, 0.97), Soft())', '', 'bellec2018.ALIF'),
    Entry('graded output', FUSED, 'Neuron(IF(), Binary(0.7, real_units=True), Soft())', 'A scale other than the'
          ' threshold is a product behind it.'),
]  # fmt: skip

RESET = [
    Entry('hard', FUSED, 'Neuron(LIF(), Binary(), Hard(-0.2))', '', '', BIT),
    Entry('soft', FUSED, 'Neuron(LIF(), Binary(), Soft())', '', '', BIT),
    Entry('soft, bounded below', FUSED, 'Neuron(LIF(), Binary(), Bounded(-1.0))', '', '', BIT),
    Entry('none', FUSED, 'Neuron(LIF(2.0), Binary(), NoReset())', 'With `return_v_seq` a leaky integrator.', 'li', BIT),
    Entry('delayed', FUSED, 'Neuron(Affine(0.9), Binary(strict=True), Delayed(True))', '', 'snntorch.Leaky', BIT),
    Entry('detached reset', FUSED, 'Neuron(LIF(), Binary(), Hard(detach=True))', '', '', BIT),
    Entry('mem_detach', FUSED, 'Neuron(LIF(), Binary(), Hard(detach_v=True))', '', '', BIT),
]

_UP = 'Hard(detach=True)'
BRAINCOG = [
    Entry('IFNode', FUSED, f'Neuron(IF(), Binary(0.5, strict=True), {_UP}, ATan(2.0))', '', 'braincog.IFNode', BIT),
    Entry('LIFNode', FUSED, f'Neuron(LIF(2.0), Binary(0.5, strict=True), {_UP}, Triangle(2.0))', '',
          'braincog.LIFNode', BIT),
    Entry('BurstLIFNode', OUT, '', 'It resets by u * (1 - s), which is negative after two spikes, and then emits'
          ' 1.5 * s: a fault of the original. Below two spikes a step it is LIFNode (tested); the burst neuron of'
          ' conversion is `nn.Burst`.'),
    Entry('BiasLIFNode', FUSED, f'Neuron(LIF(2.0, c=0.1), Binary(1.0, strict=True), {_UP}, ATan(2.0))', '',
          'braincog.BiasLIFNode', BIT),
    Entry('PLIFNode', FUSED, f'Neuron(PLIF(0.5), Binary(1.0, strict=True), {_UP}, ATan(2.0))',
          "w and alpha are learned: `learn={'k': 'sigmoid', 'alpha': 'plain'}`.", 'braincog.PLIFNode', BIT),
    Entry('BiasPLIFNode', FUSED, f'Neuron(PLIF(0.5, c=0.1), Binary(1.0, strict=True), {_UP}, ATan(2.0))',
          "`nn.BiasLIF(parametric=True, learn=('alpha',))`; it adds 0.1 before v.", 'braincog.BiasPLIFNode', FLIP),
    Entry('DoubleSidePLIFNode', FUSED, f'Neuron(PLIF(0.5), Ternary(0.5, strict=True), {_UP}, ATan(2.0))',
          'The original raises TypeError; compared with its repaired formula.', 'braincog.DoubleSidePLIFNode', BIT),
    Entry('DoubleSidePLIFNode, as published', FUSED,
          f'Neuron(PLIF(0.5), Signed(0.5, 1, False, 1.0, 1.0, strict=True), {_UP}, ATan(2.0))',
          "`nn.DoubleSidePLIF(compat='sign')`: -1 wherever h < theta.", 'braincog.DoubleSidePLIFNode(sign)', BIT),
    Entry('NoiseLIFNode', FUSED, f'Neuron(LIF(2.0), Binary(1.0, strict=True), {_UP}, Rectangle(2.0))',
          'Run on x + tau * noise; the noise and its learned distribution are torch.', '', FLIP),
    Entry('NoisePLIFNode', FUSED, f'Neuron(PLIF(0.5), Binary(1.0, strict=True), {_UP}, Rectangle(2.0))',
          'Run on x + noise / k.', '', FLIP),
    Entry('LIFSTDPNode', FUSED, f'Neuron(Affine(2.0), Binary(1.0, strict=True), {_UP}, ATan(2.0))', '',
          'braincog.LIFSTDPNode', BIT),
    Entry('BackEINode', OUT, '', 'A convolution of the last spikes feeds back into the charge, so steps are not'
          ' independent of neighbours.'),
    Entry('BackEINode, if_back=False, if_ei=False', FUSED,
          'Neuron(Affine(0.2), Binary(0.5, strict=True), Hard(), Rectangle(2.0))', '', '', BIT),
    Entry('LIAFNode', FUSED, 'Neuron(LIF(2.0), Binary(0.5, strict=True), Hard(), Rectangle(2.0))',
          'Only the recurrence: the output SELU(h - theta) is torch, h = v + (x - v) / tau from the `v_seq` of the'
          ' step before.', '', CLOSE),
    Entry('OnlineLIFNode', FUSED, 'Neuron(LIF(2.0), Binary(0.5, strict=True), Hard(0.0, True, True), Triangle(2.0))',
          'Its second output, the first spikes, is left out.', 'braincog.OnlineLIFNode', BIT),
    Entry('mem_detach=True (any node)', FUSED,
          'Neuron(LIF(2.0), Binary(0.5, strict=True), Hard(detach=True, detach_v=True), Triangle(2.0))', '', '', BIT),
    Entry('AdaptiveNode', FUSED, f'Neuron(LIF(2.0), Binary(1.0, strict=True), {_UP}, Triangle(2.0))',
          'Only the LIF: the learned T x T mixing (linear, mlp, att, conv) in front of it is torch. In the'
          ' repository, not in the released package.'),
    Entry('DGLIFNode', FUSED, f'Neuron(LIF(2.0), Binary(0.5), {_UP})',
          'Only the recurrence, on relu(x): the output is where(s > 0, h, 0), h as for LIAFNode. After n_reset the'
          ' original starts at tau (it hands tau to v_reset).', '', CLOSE),
    Entry('HTDGLIFNode', OUT, '', 'Its reset lets 0.2 of the gradient of the emitted potential through, which no reset'
          ' here does; its values are those of an IF on relu(x).'),
    Entry('PSU, IPSU, RPSU', FUSED, 'Neuron(Affine(0.0), Binary(1.0, strict=True), NoReset(), ATan(2.0))',
          'Only the spike: u = M1 x + M2 sigmoid(M1 x) is a torch matmul over T. The original cannot be run'
          ' (`generate_matrix` is undefined), so nothing is compared.'),
    Entry('SPSN', OUT, '', 'Stochastic: its spikes are drawn, and a fire here is a function of h alone.'),
    Entry('SNode (conversion)', FUSED, 'Neuron(IF(), Burst(1.0, 5), Soft())',
          'soft_mode=False never resets there: that is `NoReset()`.', 'braincog.SNode', BIT),
    Entry('Izhikevich (IzhNode, IzhNodeMU, CTIzhNode)', OUT, '', 'Quadratic charge and a recovery variable.'),
    Entry('HH (HHNode)', OUT, '', 'Hodgkin-Huxley: three gating variables with exponentials.'),
    Entry('SimHH (SimHHNode)', OUT, '', 'As HH.'),
    Entry('aEIF, adth', OUT, '', 'Exponential charge, adaptation current and refractory counter.'),
    Entry('three-compartment (ThreeCompNode)', OUT, '', 'Two inputs and three potentials, all reset together.'),
    Entry('ReLUNode, BiasReLUNode', OUT, '', 'No spiking neurons: relu(x), relu(x + 0.1).'),
]  # fmt: skip
