// Surrogates: the derivative that stands for that of the spike, at z = h - theta. Formulas, and the smooth steps that
// they are derivatives of, as in snnkern/surrogates.py.
#pragma once

#include "math/hd.h"
#include "math/spec.h"

namespace snn {
inline namespace SNN_ISA {

struct ATan {
  float alpha, slope;
  SNN_HD explicit ATan(const float* values) : alpha(values[0]), slope(1.57079632679f * values[0]) {}
  SNN_HD float grad(float z) const { return ratio(0.5f * alpha, 1.f + slope * z * (slope * z)); }
};

struct Sigmoid {
  float alpha;
  SNN_HD explicit Sigmoid(const float* values) : alpha(values[0]) {}
  SNN_HD float grad(float z) const {
    const float e = exp_(-abs_(alpha * z));  // even in z: the smaller power never overflows
    const float one = 1.f + e;
    return ratio(alpha * e, one * one);
  }
};

struct Triangle {
  float alpha;
  SNN_HD explicit Triangle(const float* values) : alpha(values[0]) {}
  SNN_HD float grad(float z) const {
    const float y = alpha - alpha * alpha * abs_(z);
    return y > 0.f ? y : 0.f;
  }
};

struct Rectangle {
  float half_width;
  SNN_HD explicit Rectangle(const float* values) : half_width(1.f / values[0]) {}
  SNN_HD float grad(float z) const { return abs_(z) < half_width ? 1.f : 0.f; }
};

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
