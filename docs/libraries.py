"""Neurons of SpikingJelly, snnTorch, Norse and sinabs: the other half of docs/zoo.py."""

from docs.zoo import BIT, FLIP, FUSED, OUT, REFERENCE, Entry

_ONE = 'Binary(1.0, strict=True)'
SPIKINGJELLY = [
    Entry('IFNode', FUSED, 'Neuron(IF(), Binary(), Hard(), Sigmoid(4.0))', '', 'spikingjelly.IFNode',
          BIT),
    Entry('LIFNode', FUSED, 'Neuron(LIF(2.0), Binary(), Hard(), Sigmoid(4.0))', '',
          'spikingjelly.LIFNode', BIT),
    Entry('SimpleIFNode, SimpleLIFNode', FUSED, 'Neuron(LIF(2.0), Binary(), Hard(), Sigmoid(4.0))',
          'IFNode and LIFNode in fewer lines.'),
    Entry('ParametricLIFNode (PLIF)', FUSED, 'Neuron(PLIF(0.5), Binary(), Hard(), Sigmoid(4.0))',
          '`nn.ParametricLIF` has its parameter `w`: state_dicts go both ways.', 'spikingjelly.ParametricLIFNode', BIT),
    Entry('NonSpikingIFNode, NonSpikingLIFNode', FUSED, 'Neuron(LIF(2.0), Binary(), NoReset())',
          'The potentials are `v_seq`; its decoders are torch.', 'li'),
    Entry('HalfThresholdIFNode', FUSED, 'Neuron(IF(), Binary(0.8), Soft(), Sigmoid(4.0))',
          '`v0` is half the threshold.', '', BIT),
    Entry('ActivationAwareIFNode', FUSED, 'Neuron(IF(), Binary(), Soft(), Sigmoid(4.0))',
          'With a soft reset: `v0` is its offset, thresholds are `coefficients`. A hard one would forget the offset.',
          '', FLIP),
    Entry('TernaryIFNode', FUSED, 'Neuron(IF(), Ternary(), Hard(), Sigmoid(4.0))', '', '', BIT),
    Entry('TernaryLIFNode', FUSED, 'Neuron(LIF(2.0), Ternary(), Hard(), Sigmoid(4.0))', '', '', BIT),
    Entry('ILIFNode', FUSED, 'Neuron(LIF(4 / 3, decay_input=False), Integer(1.0, 4), Soft(), Rectangle(2.0))',
          'Gradients differ at whole h, and for thresholds other than 1 (its window is in units of theta).', 'i-lif',
          FLIP),
    Entry('CUBALIFNode', FUSED, 'Neuron(Synaptic(0.75, decay=0.5), Binary(0.5), Hard(), Sigmoid(4.0))',
          'Its own surrogate is Rect(1.0), ours of this name is `Rectangle`.', '', BIT),
    Entry('STBIFNode (SpikeZIP)', FUSED, 'Neuron(IF(), SignedMemory(1.0), Soft())',
          'With `v0` of half a threshold, and as long as the running sum stays below its pos_max; sym=True is out of'
          ' scope. Forward: it has no gradient.', '', BIT),
    Entry('SLTTLIFNode', FUSED, 'Neuron(LIF(2.0), Binary(), Hard(detach=True, detach_v=True), Sigmoid(4.0))', '', '',
          BIT),
    Entry('OTTTLIFNode', FUSED,
          'Neuron(LIF(2.0, decay_input=False), Binary(), Soft(detach=True, detach_v=True), Sigmoid(4.0))',
          'The trace that it emits as well is another leaky integrator, of the spikes.', '', FLIP),
    Entry('LIAFNode', FUSED, 'Neuron(LIF(2.0), Binary(), Hard(), Sigmoid(4.0))',
          "As BrainCog's: the output act(h - theta) is torch, from `v_seq`."),
    Entry('PSN, MaskedPSN, SlidingPSN', FUSED, 'Neuron(Affine(0.0), Binary(0.0), NoReset(), ATan(2.0))',
          'Only the spike: the T x T matmul and its bias are torch.', '', BIT),
    Entry('QIFNode', OUT, '', 'Quadratic charge.'),
    Entry('EIFNode', OUT, '', 'Exponential charge.'),
    Entry('IzhikevichNode', OUT, '', 'Quadratic charge and a recovery variable.'),
    Entry('KLIFNode', OUT, '', 'relu(k * h) is what is compared and reset; no charge here is nonlinear.'),
    Entry('GatedLIFNode', OUT, '', 'Its reset mixes a share of the decayed v and a constant by learned gates.'),
    Entry('ComplementaryLIFNode', OUT, '', 'A complementary potential that decays by sigmoid(h / tau) and joins the'
          ' reset.'),
    Entry('RAFNode (resonate and fire)', OUT, '', 'Two coupled potentials.'),
    Entry('MPBNLIFNode', OUT, '', 'BatchNorm of the potential inside every step: neurons depend on the batch.'),
    Entry('ILCIFNode, ILCLIFNode, ILCCUBALIFNode', OUT, '', 'A convolution of the last spikes joins the next input.'),
    Entry('NoisyCUBALIFNode, NoisyILCCUBALIFNode', OUT, '', 'Noise on the spikes, too; ILC also feeds back.'),
    Entry('DSRIFNode, DSRLIFNode', OUT, '', 'Forward is an IF or LIF with a soft reset, but backward is that of a rate,'
          ' not of the spikes.'),
    Entry('FewSpikeNode, OutlierAwareThresholdNode, HGNode', OUT, '', 'Threshold, reset and weight change from step to'
          ' step by a table.'),
    Entry('FlexSN', OUT, '', 'A Python function of yours as the step; kernels here read a neuron as data.'),
]  # fmt: skip

SNNTORCH = [
    Entry('Leaky', FUSED, f'Neuron(Affine(0.9), {_ONE}, Delayed(True), ATan(2.0))', '`nn.Leaky`: beta and threshold'
          ' learned, one or per channel.', 'snntorch.Leaky', BIT),
    Entry('Leaky, reset_mechanism="zero"', FUSED, f'Neuron(Affine(0.9), {_ONE}, Hard(detach=True), ATan(2.0))',
          'Its mem is the potential before the reset, ours the one after it.', 'snntorch.Leaky(zero)', BIT),
    Entry('Leaky, reset_delay=False', FUSED, f'Neuron(Affine(0.9), {_ONE}, Soft(), ATan(2.0))',
          'While no potential stays above its threshold after a reset: then snnTorch compares v - theta. Here the'
          ' gradient goes through the reset.', '', BIT),
    Entry('Leaky, reset_mechanism="none"', FUSED, f'Neuron(Affine(0.9), {_ONE}, NoReset(), ATan(2.0))', '', '', BIT),
    Entry('Synaptic', FUSED, f'Neuron(Synaptic(0.8, decay=0.9), {_ONE}, Delayed(True), ATan(2.0))',
          '"zero" is another neuron: there v is 0 in the step after a spike and that input is lost.',
          'snntorch.Synaptic', BIT),
    Entry('Lapicque', FUSED, f'Neuron(Affine(0.8, 0.2), {_ONE}, Delayed(True), ATan(2.0))',
          'a = 1 - dt / (R C), b = dt / C; not "zero", as for Synaptic.', '', BIT),
    Entry('StateLeaky, LinearLeaky', FUSED, f'Neuron(Affine(0.9), {_ONE}, NoReset(), ATan(2.0))',
          'A convolution over T there; a = exp(beta - 1), since its tau is 1 / (1 - beta).', '', FLIP),
    Entry('Alpha', OUT, '', 'Two currents; the potential is a sum of them and has no state of its own.'),
    Entry('RLeaky, RSynaptic', OUT, '', 'Output spikes feed back into the next input through a layer.'),
    Entry('DeltaLeaky', OUT, '', 'It fires on the change of v, |h - v|.'),
    Entry('LeakyParallel, LeakyKernel', OUT, '', 'torch.nn.RNN with relu: negative potentials are cut to 0.'),
    Entry('AssociativeLeaky', OUT, '', 'A matrix-valued state.'),
    Entry('SLSTM, SConv2dLSTM', OUT, '', 'An LSTM with spikes.'),
]  # fmt: skip

NORSE = [
    Entry('LIF, LIFCell', FUSED, f'Neuron(Synaptic(0.9, 0.1, decay=0.8), {_ONE}, Hard(), SuperSpike(1.0))',
          'a = 1 - dt / tau_mem, b = dt / tau_mem, c = b * v_leak, decay = 1 - dt / tau_syn, `v0` is v_leak; i counts'
          ' after its jump and before its decay. The alpha of its "super" is not used.', 'norse.LIF', FLIP),
    Entry('LIFBoxCell', FUSED, f'Neuron(PLIF(0.1), {_ONE}, Hard(), SuperSpike(1.0))', 'k = dt / tau_mem.', '', BIT),
    Entry('IAFCell', FUSED, f'Neuron(IF(), {_ONE}, Hard(), SuperSpike(1.0))', '', '', BIT),
    Entry('LSNNCell', FUSED,
          'Neuron(Synaptic(0.9, 0.1, decay=0.8, delayed=True), Adaptive(1.0, 1.71, 0.95), Hard(), SuperSpike(1.0))',
          'kept = 1 - dt / tau_adapt is `decay`, beta * kept is `beta`. It compares by >, `Adaptive` by >=.', '', FLIP),
    Entry('LI, LICell, LIBoxCell', FUSED, 'Neuron(Synaptic(0.9, 0.1, decay=0.8), Binary(), NoReset())',
          'The potentials are `v_seq`.'),
    Entry('LIFCell with method "circ"', REFERENCE,
          'Neuron(Synaptic(0.9, 0.1, decay=0.8), Binary(1.0, strict=True), Hard(),'
          ' Custom.of(lambda z: (1 + z.square()) ** -1.5))', 'A derivative that is no entry of the table (here for its'
          ' alpha 1): `Custom` runs on the reference path. "triangle", "tanh" and "heavi_erfc" are `Triangle`,'
          ' `Sigmoid` and `Erf`, up to a factor.'),
    Entry('LIFRefracCell, LIFAdExRefracCell', OUT, '', 'A refractory counter.'),
    Entry('LIFExCell, LIFAdExCell', OUT, '', 'Exponential charge.'),
    Entry('CobaLIFCell', OUT, '', 'Conductances: the input multiplies the potential.'),
    Entry('IzhikevichCell', OUT, '', 'Quadratic charge and a recovery variable.'),
    Entry('LIFMCRecurrentCell, recurrent cells', OUT, '', 'Spikes of the last step feed back through weights.'),
]  # fmt: skip

SINABS = [
    Entry('IAF, IAFSqueeze', FUSED, 'Neuron(IF(), MultiSpike(), Soft(), PiecewiseExp(2.0, 2.0))',
          'SingleExponential(w, g) is PiecewiseExp(1 / (spike_threshold w), 2 g).', 'sinabs.IAF', BIT),
    Entry('IAF with SingleSpike', FUSED, 'Neuron(IF(), Binary(), Soft(), PiecewiseExp(2.0, 2.0))', '', '', BIT),
    Entry('LIF', FUSED, 'Neuron(Affine(0.9, 0.1), MultiSpike(), Soft(), PiecewiseExp(2.0, 2.0))',
          'a = exp(-1 / tau_mem), b = 1 - a; b = 1 with norm_input=False.', 'sinabs.LIF', BIT),
    Entry('LIF with MaxSpike', FUSED, 'Neuron(Affine(0.9, 0.1), MultiSpike(1.0, 3), Soft())', '', '', BIT),
    Entry('LIF with MembraneReset', FUSED,
          'Neuron(Affine(0.9), Binary(), Hard(detach=True), PiecewiseExp(2.0, 2.0))', '', '', BIT),
    Entry('ExpLeak', FUSED, 'Neuron(Affine(0.9, 0.1), Binary(), NoReset())', 'The potentials are `v_seq`.', '', BIT),
    Entry('ALIF with MembraneReset', FUSED, 'Neuron(Affine(0.9), Adaptive(1.0, 0.09, 0.95), Hard())',
          'rho = exp(-1 / tau_adapt) is `decay`, adapt_scale * (1 - rho) is `beta`. Forward only: no gradient flows'
          ' through its adaptation.', '', FLIP),
    Entry('ALIF', OUT, '', 'Its MembraneSubtract subtracts the raised threshold, `Adaptive` the resting one.'),
    Entry('tau_syn (any layer)', FUSED, 'Neuron(Synaptic(0.9, 0.08, decay=0.8), Binary(), Soft())',
          'It decays the current before it charges: its alpha_syn is a factor of b.', '', FLIP),
    Entry('min_v_mem (any layer)', FUSED, 'Neuron(IF(), MultiSpike(), Bounded(-1.0), PiecewiseExp(2.0, 2.0))',
          'With MembraneSubtract, the default.', '', BIT),
    Entry('LIF with Gaussian or Heaviside', FUSED, 'Neuron(Affine(0.9, 0.1), MultiSpike(), Soft(), Erf(2**0.5))',
          'Gaussian(0, sigma) is Erf(1 / (sqrt(2) sigma)); Heaviside(w) is Window(-w, 1e30) at spike_threshold 1.', '',
          BIT),
    Entry('LIF with PeriodicExponential or MultiGaussian', REFERENCE,
          'Neuron(IF(), MultiSpike(), Soft(), Custom.of(lambda z: 2 * (-2 * z.abs()).exp()))',
          'A surrogate of your own is `Custom` (here SingleExponential, on the reference path).'),
    Entry('LIFRecurrent, IAFRecurrent, ALIFRecurrent', OUT, '', 'Spikes of the last step feed back through a layer.'),
]  # fmt: skip
