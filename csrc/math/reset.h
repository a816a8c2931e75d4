// Reset: the potential after the step, and its part in backward. Formulas as in snnkern/resets.py.
//
// `blame` is -dv/ds times gv: what the gradient of the spike loses through the reset (times 0 if detached);
// `keep` is dv/dh at fixed s.
#pragma once

#include "math/hd.h"
#include "math/spec.h"

namespace snn {
inline namespace SNN_ISA {

// values: v_reset, detach.
struct Hard {
  float v_reset, live;

  SNN_HD Hard(const float* values, float) : v_reset(values[0]), live(values[1] != 0.f ? 0.f : 1.f) {}
  SNN_HD float start() const { return v_reset; }
  SNN_HD float apply(float h, float s) const { return select(s > 0.f, v_reset, h); }
  SNN_HD float blame(float gv, float h) const { return live * gv * (h - v_reset); }
  SNN_HD float keep(float s) const { return s > 0.f ? 0.f : 1.f; }
};

// values: detach.
struct Soft {
  float theta, live;

  SNN_HD Soft(const float* values, float v_threshold) : theta(v_threshold), live(values[0] != 0.f ? 0.f : 1.f) {}
  SNN_HD float start() const { return 0.f; }
  SNN_HD float apply(float h, float s) const { return h - s * theta; }
  SNN_HD float blame(float gv, float) const { return live * gv * theta; }
  SNN_HD float keep(float) const { return 1.f; }
};

template <class F>
void visit_reset(const Spec& spec, F&& f) {
  switch (spec.reset) {
    case ResetId::Hard: return f(Hard(spec.reset_values, spec.fire_values[0]));
    case ResetId::Soft: return f(Soft(spec.reset_values, spec.fire_values[0]));
  }
}

struct AnyReset {
  bool is_hard;
  Hard hard;
  Soft soft;

  SNN_HD explicit AnyReset(const Spec& spec)
      : is_hard(spec.reset == ResetId::Hard),
        hard(spec.reset_values, 0.f),
        soft(spec.reset_values, spec.fire_values[0]) {}
  SNN_HD float start() const { return is_hard ? hard.start() : soft.start(); }
  SNN_HD float apply(float h, float s) const { return is_hard ? hard.apply(h, s) : soft.apply(h, s); }
  SNN_HD float blame(float gv, float h) const { return is_hard ? hard.blame(gv, h) : soft.blame(gv, h); }
  SNN_HD float keep(float s) const { return is_hard ? hard.keep(s) : soft.keep(s); }
};

}  // namespace SNN_ISA
}  // namespace snn
