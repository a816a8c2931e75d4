// Surrogates: the derivative that stands for that of the spike, at z = h - theta. Formulas, and the smooth steps that
// they are derivatives of, as in snnkern/surrogates.py. `by_alpha` is the derivative of the smooth step by alpha,
// where alpha can be learned; `at` gives the surrogate of one neuron whose alpha is a coefficient.
#pragma once

#include "math/hd.h"
#include "math/spec.h"

namespace snn {
inline namespace SNN_ISA {

struct FixedAlpha {
  static constexpr bool learns = false;
  SNN_HD float by_alpha(float) const { return 0.f; }
};

struct ATan {
  static constexpr bool learns = true;
  float alpha, slope;
  SNN_HD explicit ATan(const float* values) : ATan(values[0]) {}
  SNN_HD explicit ATan(float a) : alpha(a), slope(1.57079632679f * a) {}
  SNN_HD ATan at(float own) const { return ATan(own); }
  SNN_HD float grad(float z) const { return ratio(0.5f * alpha, squared(slope * z)); }
  SNN_HD float by_alpha(float z) const { return ratio(0.5f * z, squared(slope * z)); }
  SNN_HD float squared(float y) const { return mul_add(y, y, 1.f); }
};

struct Sigmoid : FixedAlpha {
  float alpha;
  SNN_HD explicit Sigmoid(const float* values) : alpha(values[0]) {}
  SNN_HD float grad(float z) const {
    const float e = exp_(-abs_(alpha * z));  // even in z: the smaller power never overflows
    const float one = 1.f + e;
    return ratio(alpha * e, one * one);
  }
};

struct Triangle : FixedAlpha {
  float alpha;
  SNN_HD explicit Triangle(const float* values) : alpha(values[0]) {}
  SNN_HD float grad(float z) const {
    const float y = alpha - alpha * alpha * abs_(z);
    return y > 0.f ? y : 0.f;
  }
};

struct Rectangle : FixedAlpha {
  float half_width;
  SNN_HD explicit Rectangle(const float* values) : half_width(1.f / values[0]) {}
  SNN_HD float grad(float z) const { return abs_(z) < half_width ? 1.f : 0.f; }
};

// values: alpha, leak.
struct LeakyReLU {
  static constexpr bool learns = true;
  float alpha, leak;
  SNN_HD explicit LeakyReLU(const float* values) : alpha(values[0]), leak(values[1]) {}
  SNN_HD LeakyReLU at(float own) const {
    LeakyReLU p = *this;
    p.alpha = own;
    return p;
  }
  SNN_HD float grad(float z) const { return select(z > 0.f, alpha, leak); }
  SNN_HD float by_alpha(float z) const { return z > 0.f ? z : 0.f; }
};

// values: low, high.
struct Window : FixedAlpha {
  float low, high;
  SNN_HD explicit Window(const float* values) : low(values[0]), high(values[1]) {}
  SNN_HD float grad(float z) const { return (z > low ? 1.f : 0.f) * (z < high ? 1.f : 0.f); }
};

struct STE : FixedAlpha {
  SNN_HD explicit STE(const float*) {}
  SNN_HD float grad(float) const { return 1.f; }
};

struct FastSigmoid : FixedAlpha {
  float alpha;
  SNN_HD explicit FastSigmoid(const float* values) : alpha(values[0]) {}
  SNN_HD float grad(float z) const {
    const float y = 1.f + alpha * abs_(z);
    return ratio(1.f, y * y);
  }
};

struct SoftSign : FixedAlpha {
  float alpha;
  SNN_HD explicit SoftSign(const float* values) : alpha(values[0]) {}
  SNN_HD float grad(float z) const {
    const float y = 1.f + abs_(alpha * z);
    return ratio(0.5f * alpha, y * y);
  }
};

struct SuperSpike : FixedAlpha {
  float alpha;
  SNN_HD explicit SuperSpike(const float* values) : alpha(values[0]) {}
  SNN_HD float grad(float z) const {
    const float y = 1.f + abs_(z);
    return ratio(alpha, y * y);
  }
};

struct Erf : FixedAlpha {
  float alpha, height;
  SNN_HD explicit Erf(const float* values) : alpha(values[0]), height(0.564189583548f * values[0]) {}
  SNN_HD float grad(float z) const { return height * exp_(-(alpha * z) * (alpha * z)); }
};

// values: alpha, scale.
struct PiecewiseExp : FixedAlpha {
  float alpha, height;
  SNN_HD explicit PiecewiseExp(const float* values) : alpha(values[0]), height(0.5f * values[0] * values[1]) {}
  SNN_HD float grad(float z) const { return height * exp_(-alpha * abs_(z)); }
};

// Custom is a Python function: no kernel is ever asked for it (`refusal` in snnkern/backends).
using Custom = STE;

template <class F>
SNN_HD void visit_surrogate(const Spec& spec, F&& f) {
  switch (spec.surrogate) {
#define SNN_CASE(name) \
  case SurrogateId::name: return f(name(spec.surrogate_values));
    SNN_SURROGATES(SNN_CASE)
#undef SNN_CASE
  }
}

}  // namespace SNN_ISA
}  // namespace snn
