// Charge: the membrane potential h before firing, and its derivatives. Formulas as in snnkern/charges.py.
//
// `at` gives the charge of one neuron whose numbers are coefficients: c, and a and b of those that `learns` says. dh_da
// and dh_db are the derivatives by the latter, linear in (one, x, v): at (1, x, v) those of a step, at sums of
// gh * (1, x, v) those of a sequence. By c it is `one`. A charge that `filters` has a current of its own.
#pragma once

#include "math/hd.h"
#include "math/spec.h"

namespace snn {
inline namespace SNN_ISA {

// What charges without a current and without numbers of their own that are coefficients share: the constant c, which
// every charge has, in the last place of its values.
struct Constant {
  static constexpr bool filters = false, learns = false;
  float c;

  SNN_HD explicit Constant(const float* values) : c(values[kConstant]) {}
  SNN_HD explicit Constant(float own) : c(own) {}
  SNN_HD float dh_da(float, float, float) const { return 0.f; }
  SNN_HD float dh_db(float, float, float) const { return 0.f; }
};

struct If : Constant {
  using Constant::Constant;
  SNN_HD If at(float, float, float own_c) const { return If(own_c); }
  SNN_HD float charge(float v, float x) const { return v + x + c; }
  SNN_HD float dh_dv() const { return 1.f; }
  SNN_HD float dh_dx() const { return 1.f; }
};

// values: tau, v_rest, decay_input. DecayInput: which of the two forms, Yes, No or a bool (see hd.h).
template <class DecayInput>
struct Lif : Constant {
  Divisor tau;
  float v_rest, rate;
  DecayInput decay_input;

  SNN_HD explicit Lif(const float* values)
      : Constant(values), tau(values[0]), v_rest(values[1]), rate(1.f / values[0]), decay_input(values[2] != 0.f) {}
  // Field by field: a copy of the divisor as a whole keeps g++ from vectorising.
  SNN_HD Lif(const Lif& q, float own_c)
      : Constant(own_c),
        tau(q.tau.value, q.tau.inverse, q.tau.reciprocal),
        v_rest(q.v_rest),
        rate(q.rate),
        decay_input(q.decay_input) {}
  SNN_HD Lif at(float, float, float own_c) const { return {*this, own_c}; }
  SNN_HD float charge(float v, float x) const {
    const float leak = v - v_rest;
    return (decay_input ? v + tau.divide(x - leak) : v - tau.divide(leak) + x) + c;
  }
  SNN_HD float dh_dv() const { return 1.f - rate; }
  SNN_HD float dh_dx() const { return decay_input ? rate : 1.f; }
};

// values: k, v_rest, decay_input.
template <class DecayInput>
struct Plif {
  static constexpr bool filters = false, learns = true;
  float k, v_rest, c;
  DecayInput decay_input;

  SNN_HD explicit Plif(const float* values)
      : k(values[0]), v_rest(values[1]), c(values[kConstant]), decay_input(values[2] != 0.f) {}
  SNN_HD Plif at(float own_k, float, float own_c) const {
    Plif q = *this;
    q.k = own_k;
    q.c = own_c;
    return q;
  }
  SNN_HD float charge(float v, float x) const {
    const float leak = v - v_rest;
    return (decay_input ? v + (x - leak) * k : v - leak * k + x) + c;
  }
  SNN_HD float dh_dv() const { return 1.f - k; }
  SNN_HD float dh_dx() const { return decay_input ? k : 1.f; }
  SNN_HD float dh_da(float one, float x, float v) const {
    return decay_input ? x - (v - v_rest * one) : v_rest * one - v;
  }
  SNN_HD float dh_db(float, float, float) const { return 0.f; }
};

// values: a, b.
struct AffineCharge {
  static constexpr bool filters = false, learns = true;
  float a, b, c;

  SNN_HD explicit AffineCharge(const float* values) : a(values[0]), b(values[1]), c(values[kConstant]) {}
  SNN_HD AffineCharge at(float own_a, float own_b, float own_c) const {
    AffineCharge q = *this;
    q.a = own_a;
    q.b = own_b;
    q.c = own_c;
    return q;
  }
  SNN_HD float charge(float v, float x) const { return a * v + b * x + c; }
  SNN_HD float dh_dv() const { return a; }
  SNN_HD float dh_dx() const { return b; }
  SNN_HD float dh_da(float, float, float v) const { return v; }
  SNN_HD float dh_db(float, float x, float) const { return x; }
};

// values: a, b, decay, delayed. The current i is what charges v.
template <class Late>
struct Synapse : AffineCharge {
  static constexpr bool filters = true, learns = true;
  float decay;
  Late late;

  SNN_HD explicit Synapse(const float* values) : AffineCharge(values), decay(values[2]), late(values[3] != 0.f) {}
  SNN_HD Synapse at(float own_a, float own_b, float own_c) const {
    Synapse q = *this;
    q.a = own_a;
    q.b = own_b;
    q.c = own_c;
    return q;
  }
  // The current after the step, and the one that charges.
  SNN_HD float current(float i, float x) const { return decay * i + x; }
  SNN_HD float used(float before, float after) const { return late ? before : after; }
  // dL/dx; gi: dL/di after the step, becomes that before it; used: dL/d(the current that charges).
  SNN_HD float backward(float used, float& gi) const {
    const float gx = late ? gi : gi + used;
    gi = late ? decay * gi + used : decay * gx;
    return gx;
  }
};

// f with the type of the charge. Of charges with a flag, both forms are types (a flag keeps g++ from vectorising), or,
// with Any, one type holds it (GPUs: a uniform branch costs next to nothing).
template <bool Any, template <class> class Q, class F>
void with_flag(const float* values, int flag, F&& f) {
  if constexpr (Any)
    f(Q<bool>(values));
  else
    values[flag] != 0.f ? f(Q<Yes>(values)) : f(Q<No>(values));
}

template <bool Any = false, class F>
void visit_charge(const Spec& spec, F&& f) {
  const float* values = spec.charge_values;
  switch (spec.charge) {
    case ChargeId::IF: return f(If(values));
    case ChargeId::LIF: return with_flag<Any, Lif>(values, 2, f);
    case ChargeId::PLIF: return with_flag<Any, Plif>(values, 2, f);
    case ChargeId::Affine: return f(AffineCharge(values));
    case ChargeId::Synaptic: return with_flag<Any, Synapse>(values, 3, f);
  }
}

}  // namespace SNN_ISA
}  // namespace snn
