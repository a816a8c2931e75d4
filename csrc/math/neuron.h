// Charge: the membrane potential h before firing, and its derivatives. Formulas as in snnkern/neurons.py.
#pragma once

#include "math/hd.h"
#include "math/spec.h"

namespace snn {
inline namespace SNN_ISA {

struct If {
  SNN_HD explicit If(const float*) {}
  SNN_HD float charge(float v, float x) const { return v + x; }
  SNN_HD float dh_dv() const { return 1.f; }
  SNN_HD float dh_dx() const { return 1.f; }
};

// values: tau, v_rest, decay_input (which of the two forms: a type, since a flag keeps g++ from vectorising).
template <bool DecayInput>
struct Lif {
  Divisor tau;
  float v_rest, rate;

  SNN_HD explicit Lif(const float* values) : tau(values[0]), v_rest(values[1]), rate(1.f / values[0]) {}

  SNN_HD float charge(float v, float x) const {
    const float leak = v - v_rest;
    return DecayInput ? v + tau.divide(x - leak) : v - tau.divide(leak) + x;
  }
  SNN_HD float dh_dv() const { return 1.f - rate; }
  SNN_HD float dh_dx() const { return DecayInput ? rate : 1.f; }
};

template <class F>
void visit_charge(const Spec& spec, F&& f) {
  const float* values = spec.charge_values;
  switch (spec.charge) {
    case ChargeId::IF: return f(If(values));
    case ChargeId::LIF: return values[2] != 0.f ? f(Lif<true>(values)) : f(Lif<false>(values));
  }
}

}  // namespace SNN_ISA
}  // namespace snn
