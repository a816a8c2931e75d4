"""A layer whose weights have a part that learns by itself while it runs: hybrid plasticity."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnkern import _arguments as arguments
from snnkern._checks import finite, positive, whole
from snnkern.charges import Affine
from snnkern.fires import Binary
from snnkern.functional import multistep
from snnkern.neurons import Neuron
from snnkern.resets import Soft
from snnkern.surrogates import Rectangle

__all__ = ['Plastic']

MODES = ('lp', 'gp', 'hp')
LIMIT = 4.0  # of a plastic weight


class Plastic(nn.Module):
    """A linear layer and its neurons, with plastic weights H beside the learned ones W.

    With d_t = exp(-t / tau), t = 0, 1, ..., and u_t the potential before the spike:

        I_t = W x_t d_t + b + alpha (x_t d_t) H_(t-1)
        u_t = a (u_(t-1) - v_threshold s_(t-1)) + I_t,  s_t = 1 where u_t > v_threshold
        H_t = clamp(decay H_(t-1) + mean over the batch of (beta x_t d_t)^T tanh(u_t / v_threshold - eta), -4, 4)

    in_features, out_features: of x and of the neurons. mode: "gp" (global): H is not there; "lp" (local): H is all
    that changes, W, b, alpha, beta and eta stay what they were at the start, and no gradient goes back to x; "hp":
    both, and alpha [1], beta [in] and eta [out], which say how H learns, are learned, too. v_threshold, a, tau
    (steps), decay: as above. The surrogate is a rectangle of half-width 1/2; the gradient flows through the reset and
    through H within a call.

    H [in, out] is the buffer `plastic`, which the state_dict holds: a call in training goes on from the last one,
    without its graph. In eval mode H is held still, so that answers depend on their own sample only. adapt: True lets
    H change within a call in eval mode, too, as the authors' does, and afterwards it is what it was before. Then
    answers depend on the other samples of the batch and how many they are, as in training; with few, or one, most are
    wrong. Several processes keep the mean of their H after each call, weighted by their samples. Numbers that are not
    finite do not get into H. Potentials are 0 at the start of every call.

    "gp" runs all steps in one fused call, and so does eval mode without adapt. Otherwise H ties each step to all
    neurons of the step before, and the steps run one by one; but for a constant x, where |H| cannot reach 4 (that is
    looked up), steps work with [B, B] and [B, out] in place of [in, out], the same up to rounding.

    Maps x [T, B, in] to spikes [T, B, out]; `layer(x, last=True)` to spikes and u_T [B, out].
    Raises ValueError for another mode, numbers out of range, or x of another shape. Source: Wu et al., Nat. Commun.
    13:65 (2022), after the equations of the authors' programs.
    Example: `Plastic(784, 512)(encode.direct(images.flatten(1), T=10))`.
    """

    plastic: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        mode: str = 'hp',
        v_threshold: float = 0.35,
        a: float = 0.4,
        tau: float = 40.0,
        decay: float = 0.95,
        adapt: bool = False,
        backend: str | None = None,
    ) -> None:
        super().__init__()
        whole('in_features', in_features)
        whole('out_features', out_features)
        positive('tau', tau)
        finite('decay', decay)
        if not 0 <= decay < 1:
            raise ValueError(f'decay must be >= 0 and < 1, got {decay}')
        if mode not in MODES:
            raise ValueError(f'mode must be one of {", ".join(MODES)}, got {mode!r}')
        self.mode, self.tau, self.decay, self.adapt, self.backend = mode, tau, decay, adapt, backend
        self.neuron = Neuron(Affine(a), Binary(v_threshold, strict=True), Soft(), Rectangle(2.0))
        self.linear = nn.Linear(in_features, out_features)
        if mode != 'gp':
            self.alpha = nn.Parameter(0.01 * torch.rand(1))
            self.beta = nn.Parameter(0.01 * torch.rand(in_features))
            self.eta = nn.Parameter(0.01 * torch.rand(out_features))
            self.register_buffer('plastic', torch.zeros(in_features, out_features))
        self.requires_grad_(mode != 'lp')

    def forward(self, x: Tensor, last: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Spikes [T, B, out] of x [T, B, in]; last: and the potentials u_T [B, out] before the last reset."""
        if x.dim() != 3 or x.shape[2] != self.linear.in_features:
            raise ValueError(f'x must be [T, B, {self.linear.in_features}], got shape {tuple(x.shape)}')
        still = self.mode == 'gp' or not (self.training or self.adapt)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.mode != 'lp'):
            s, u = self._fused(x) if still else self._stepwise(x)
        return (s, u) if last else s

    def extra_repr(self) -> str:
        return f'mode={self.mode!r}, neuron={self.neuron}, tau={self.tau}, decay={self.decay}, adapt={self.adapt}'

    def _fade(self, x: Tensor) -> Tensor:
        """d [T]."""
        return torch.exp(-torch.arange(len(x), dtype=x.dtype, device=x.device) / self.tau)

    def _fire(self, drive: Tensor, fade: Tensor, v0: Tensor | None) -> tuple[Tensor, Tensor]:
        """Spikes of a few steps and the potentials after them; the charge multiplies by d_t and adds b."""
        line = {'b': fade[:, None].expand(-1, drive.shape[2]), 'c': self.linear.bias}
        return multistep(drive, self.neuron, v0=v0, return_state=True, coefficients=line, backend=self.backend)  # type: ignore[return-value]

    def _fused(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weight = self.linear.weight if self.mode == 'gp' else self.linear.weight + self.alpha * self.plastic.T
        drive = F.linear(x[0], weight).expand(len(x), -1, -1) if arguments.repeated(x) else F.linear(x, weight)
        s, v = self._fire(drive, self._fade(x), None)
        return s, v + self.neuron.fire.v_threshold * s[-1]

    def _stepwise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        theta, v, spikes = self.neuron.fire.v_threshold, None, []
        constant, fade = arguments.repeated(x), self._fade(x)
        # Tuples, since the gradient of an index into a tensor is as large as the tensor.
        steps = (x[0],) * len(x) if constant else x.unbind()
        drives = (self._drive(x[0]),) * len(x) if constant else self._drive(x).unbind()
        weights: Overlaps | Weights = (Overlaps if constant and self._bounded(x[0], len(x)) else Weights)(self, x[0])
        for x_t, drive, d in zip(steps, drives, fade, strict=True):
            s, v = self._fire((drive + self.alpha * weights.answer(x_t))[None], d[None], v)
            spikes.append(s)
            u = v + theta * s[0]
            weights.learn(x_t, (d * torch.tanh(u / theta - self.eta)).to(x.dtype))
        if self.training:
            self._keep(weights.weights(), x.shape[1])
        return torch.cat(spikes), u

    def _drive(self, x: Tensor) -> Tensor:
        return F.linear(x, self.linear.weight)

    @torch.no_grad()
    def _bounded(self, x: Tensor, steps: int) -> bool:
        """Whether |H| <= 4 after any of these steps of x [B, in], since |tanh| <= 1; False, too, where B > in."""
        kept = self.decay**steps
        most = kept * torch.linalg.vector_norm(self.plastic, torch.inf, 1)
        most += (1 - kept) / (1 - self.decay) * x.abs().mean(0) * self.beta.abs()
        return len(x) <= x.shape[1] and bool(most.max() <= LIMIT)

    @torch.no_grad()
    def _keep(self, weights: Tensor, count: int) -> None:
        from torch import distributed

        if distributed.is_available() and distributed.is_initialized():
            total = torch.tensor(float(count), device=weights.device)
            weights = weights * total
            distributed.all_reduce(weights)
            distributed.all_reduce(total)
            weights = weights / total
        # H would stay NaN for ever.
        self.plastic.copy_(torch.where(weights.isfinite(), weights, self.plastic))


class Weights:
    """H itself, step by step."""

    def __init__(self, layer: Plastic, x: Tensor) -> None:
        self.layer = layer
        self.now = layer.plastic.clone()  # the buffer changes before backward

    def answer(self, x: Tensor) -> Tensor:
        """x_t H_(t-1) [B, out]."""
        return x @ self.now

    def learn(self, x: Tensor, signal: Tensor) -> None:
        """Make H_t of x_t [B, in] and the signal behind it [B, out]."""
        step = (x * self.layer.beta).T @ (signal / len(x))
        self.now = (self.layer.decay * self.now + step).clamp(-LIMIT, LIMIT)

    def weights(self) -> Tensor:
        """H_t."""
        return self.now


class Overlaps:
    """H by what it answers to one constant x: the samples' overlaps x (beta x)^T [B, B] say how they change it."""

    def __init__(self, layer: Plastic, x: Tensor) -> None:
        self.layer, self.x = layer, x
        self.now = x @ layer.plastic.clone()  # the buffer changes before backward
        self.overlaps = x @ (x * layer.beta).T / len(x)
        self.kept, self.signal = 1.0, torch.zeros_like(self.now)

    def answer(self, x: Tensor) -> Tensor:
        """x H_(t-1) [B, out]."""
        return self.now

    def learn(self, x: Tensor, signal: Tensor) -> None:
        """Make H_t of the signal behind x [B, out]."""
        decay = self.layer.decay
        self.now = torch.addmm(self.now, self.overlaps, signal, beta=decay)
        self.kept, self.signal = decay * self.kept, decay * self.signal + signal.detach()

    def weights(self) -> Tensor:
        """H_t."""
        step = (self.x * self.layer.beta).T @ (self.signal / len(self.x))
        return self.kept * self.layer.plastic + step
