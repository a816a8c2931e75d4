// One time step of a neuron: forward, and the same step backward, next to each other. Firing is everything behind the
// charge; kernels that stage a step use it alone.
#pragma once

#include "math/fire.h"
#include "math/neuron.h"
#include "math/reset.h"
#include "math/surrogate.h"

namespace snn {
inline namespace SNN_ISA {

// The surrogate at h, summed over the levels that are open: of positive and of negative spikes; the same weighted by
// the level (for dL/dtheta); the derivative by alpha. What is not asked for is 0.
struct Slopes {
  float up = 0.f, down = 0.f, up_level = 0.f, down_level = 0.f, up_alpha = 0.f, down_alpha = 0.f;
};

// dL/dv and dL/dm after the step, which become those before it, and dL/dh of the next step (delayed resets).
struct Adjoint {
  float v, m, h;
};

// dL/dtheta and dL/dalpha of one neuron, added up over the steps.
struct FireSums {
  float theta, alpha;
};

template <class F, class R>
struct Firing {
  using Fire = F;
  using Reset = R;
  Fire fire;
  Reset reset;

  // h: charged. v, m: before the step, become those after it. Returns the count of spikes.
  SNN_HD float forward(float& h, float& v, float& m) const {
    h = reset.before(fire, h, v);
    const float s = fire.spikes(h, m);
    v = reset.apply(fire, h, s);
    m = fire.next(m, s);
    return s;
  }

  // grad: dL/d(emitted); h: as forward left it; m: before the step. Returns dL/dh; g.v stays for the charge.
  SNN_HD float backward(float grad, const Slopes& p, float h, float m, Adjoint& g, FireSums& sums) const {
    const float s = fire.spikes(h, m);
    float gs = grad * fire.unit();
    if (Fire::remembers) gs += fire.by_memory(g.m);
    const float gv = reset.passed(fire, g.v, h, s);
    const float reached = reset.reached(gv, g.h);
    const float up = mul_add<Fire::brief>(reached, reset.by_up(fire, h), gs);
    float gh = mul_add<Fire::brief>(up, p.up, reset.kept(gv, s));
    sums.theta += reset.by_theta(fire, gv, g.h, s) + fire.real * grad * s - up * p.up_level;
    sums.alpha += up * p.up_alpha;
    if (Fire::negative_side) {
      const float down = mul_add<Fire::brief>(reached, reset.by_down(fire, h), gs);
      gh = mul_add<Fire::brief>(down, p.down, gh);
      sums.theta += down * p.down_level;
      sums.alpha -= down * p.down_alpha;
    }
    g.m = fire.remembered(g.m, up * p.up);
    g.h = gh;
    return gh;
  }
};

// dL/d of the charge's numbers a, b and c of one neuron, added up over the steps.
struct ChargeSums {
  float a, b, c;
};

template <class C>
struct Charging {
  using Charge = C;
  Charge charge;
  float carry;  // of the reset

  // What charges v; i: the charge's own current before the step, becomes that after it.
  SNN_HD float input(float x, float& i) const {
    if constexpr (Charge::filters) {
      const float before = i;
      i = charge.current(before, x);
      return charge.used(before, i);
    } else {
      return x;
    }
  }
  SNN_HD float forward(float v, float used) const { return charge.charge(v, used); }

  // gv, gi: dL/dv and dL/di after the step, become those before it. Returns dL/dx.
  SNN_HD float backward(float gh, float v, float used, float& gv, float& gi, ChargeSums& sums) const {
    sums.a += gh * charge.dh_da(1.f, used, v);
    sums.b += gh * charge.dh_db(1.f, used, v);
    sums.c += gh;
    gv = carry * gh * charge.dh_dv();
    const float gx = gh * charge.dh_dx();
    if constexpr (Charge::filters) return charge.backward(gx, gi);
    return gx;
  }
};

}  // namespace SNN_ISA
}  // namespace snn
