// One time step of a neuron: forward, and the same step backward, next to each other.
#pragma once

#include "math/fire.h"
#include "math/neuron.h"
#include "math/reset.h"
#include "math/surrogate.h"

namespace snn {
inline namespace SNN_ISA {

template <class Charge, class Fire, class Reset>
struct Step {
  Charge charge;
  Fire fire;
  Reset reset;

  // Charge, fire, reset: v becomes the next potential; returns what the neuron emits.
  SNN_HD float forward(float x, float& v) const {
    float h;
    return forward(x, v, h) * fire.unit;
  }

  // The same, for backward: h is kept, spikes are counted.
  SNN_HD float forward(float x, float& v, float& h) const {
    h = charge.charge(v, x);
    const float s = fire.spikes(h);
    v = reset.apply(h, s);
    return s;
  }

  // grad: dL/d(emitted); slope: ds/dh of the surrogate at h; gv: dL/dv after the step, becomes that before it.
  // Returns dL/dx.
  SNN_HD float backward(float grad, float slope, float h, float& gv) const {
    const float gs = grad * fire.unit - reset.blame(gv, h);
    const float gh = gs * slope + gv * reset.keep(fire.spikes(h));
    gv = gh * charge.dh_dv();
    return gh * charge.dh_dx();
  }
};

}  // namespace SNN_ISA
}  // namespace snn
