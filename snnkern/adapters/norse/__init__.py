"""Norse 1.1: LIF, LIFBox and IAF neurons, leaky integrators, and `Lift`, which gets all steps at once.

Single steps are equal to the bit (LIFBox with a v_leak: up to rounding), and so are layers that record their states.
Other LIF and LI layers, and lifted cells, add in another order: equal up to each neuron's first flip. A state that
starts as None is a leaf with a gradient in Norse; here it needs none.
"""

from typing import Any

import torch
from norse.torch.functional import iaf, leaky_integrator, leaky_integrator_box, lif, lif_box
from norse.torch.module import iaf as iaf_modules
from norse.torch.module import leaky_integrator as li_modules
from norse.torch.module import leaky_integrator_box as li_box_modules
from norse.torch.module import lif as lif_modules
from norse.torch.module import lif_box as lif_box_modules
from norse.torch.module import snn
from torch import Tensor, nn
from torch.nn.functional import linear

from snnkern import charges
from snnkern.adapters._fused import Part, by_original, described
from snnkern.adapters.norse.base import INTEGRATOR, Base, Cell, Layer, Number, Plan, Values, product, split
from snnkern.adapters.norse.lift import Lift
from snnkern.functional import multistep


class WithCurrent(Base):
    """A current that decays and charges v, before it decays."""

    def steps(self, x: Tensor, plan: Plan, trace: bool, v: Any, i: Tensor | None = None) -> tuple[Tensor, ...]:
        d = plan.values['tau_syn_inv']
        if len(x) == 1 or trace or isinstance(d, Tensor) or d == 1:
            current = self.currents(x, i, d, plan)
            out, v = self.charged(current, *self.charge(plan.values), plan, trace, v)
            current = current if trace else current[-1]
            return out, v, (-d * current).add_(current)
        k, leak = plan.values['tau_mem_inv'], plan.values['v_leak']
        charge, learned = split(charges.Synaptic, a=1 - k, b=k, c=product(k, leak), decay=1 - d)
        v0 = v if i is None else torch.stack([v, i / (1 - d)])
        out, last = self.charged(x, charge, learned, plan, trace, v0)
        return out, last[0], last[1] * (1 - d)

    def currents(self, x: Tensor, i: Tensor | None, d: Number, plan: Plan) -> Tensor:
        """The current that charges v in each step."""
        if len(x) == 1:
            return x if i is None else x + i
        x = x if i is None else torch.cat([x[:1] + i, x[1:]])
        charge, learned = split(charges.PLIF, k=d, v_rest=0.0, decay_input=False)
        own = described(charge, *INTEGRATOR)
        return multistep(x, own, return_v_seq=True, **plan.coefficients(x, learned))[1].to(x)


class LIFLike(WithCurrent):
    step = lif.lif_feed_forward_step
    kind = lif.LIFFeedForwardState
    wide = True


class LIFCell(LIFLike, Cell, lif_modules.LIFCell): ...


class LIF(LIFLike, Layer, lif_modules.LIF): ...


class LIFBoxCell(Cell, lif_box_modules.LIFBoxCell):
    step = lif_box.lif_box_feed_forward_step
    kind = lif_box.LIFBoxFeedForwardState


class IAFLike(Base):
    step = iaf.iaf_feed_forward_step
    kind = iaf.IAFFeedForwardState
    start = 'v_reset'

    def given(self) -> dict[str, Any]:
        """Norse makes its v_reset a leaf with a gradient, and with it the default of all others."""
        v_reset = self.p.v_reset
        asked = isinstance(v_reset, nn.Parameter) or not isinstance(v_reset, Tensor)
        return {'v_th': self.p.v_th, 'v_reset': v_reset if asked else v_reset.detach()}

    def charge(self, values: Values) -> tuple[Part, dict[str, Tensor]]:
        return (charges.IF,), {}


class IAFCell(IAFLike, Cell, iaf_modules.IAFCell): ...


class IAF(IAFLike, Layer, iaf_modules.IAF): ...


class LILike(WithCurrent):
    step = leaky_integrator.li_feed_forward_step
    kind = leaky_integrator.LIState
    integrates = True


class LICell(LILike, Cell, li_modules.LICell): ...


class LI(LILike, Layer, li_modules.LI):
    wide = True


class LILinearCell(LILike, Cell, li_modules.LILinearCell):
    def forward(self, input_tensor: Tensor, state: Any = None) -> Any:
        return self.original().forward(self, input_tensor, state)

    def all_steps(self, x: Tensor, state: Any) -> Any:
        return self.run_steps(linear(x, self.input_weights), state)


class LIBoxCell(Cell, li_box_modules.LIBoxCell):
    step = leaky_integrator_box.li_box_feed_forward_step
    kind = leaky_integrator_box.LIBoxState
    integrates = True


NEURONS = snn.SNN, snn.SNNCell, snn.SNNRecurrent, snn.SNNRecurrentCell, li_modules.LILinearCell
FUSED = by_original(LIFCell, LIF, LIFBoxCell, IAFCell, IAF, LICell, LI, LILinearCell, LIBoxCell, Lift)
