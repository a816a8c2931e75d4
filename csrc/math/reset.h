// Reset: the potential after the step, and its part in backward. Formulas as in snnkern/resets.py.
//
// `before` is what a delayed reset does to the charged potential. `by_up` and `by_down` are dv/ds of a positive
// (negative) spike, 0 if detached: what the gradient `reached` (gv, dL/dv after the step, or gh, dL/dh of the next
// step) adds to dL/ds. `passed` is what of gv a bound on v lets through, `kept` is gv * dv/dh at fixed s;
// `by_theta` what dL/dtheta gets through the amount that is subtracted; `carry` is 0 where no gradient flows from a
// step into the potential before it.
#pragma once

#include "math/hd.h"
#include "math/spec.h"

namespace snn {
inline namespace SNN_ISA {

// values: v_reset, detach, detach_v.
struct Hard {
  static constexpr bool delayed = false;
  float v_reset, live, carry;

  SNN_HD explicit Hard(const float* values)
      : v_reset(values[0]), live(values[1] != 0.f ? 0.f : 1.f), carry(values[2] != 0.f ? 0.f : 1.f) {}
  SNN_HD float start() const { return v_reset; }
  template <class Fire>
  SNN_HD float before(const Fire&, float h, float) const {
    return h;
  }
  template <class Fire>
  SNN_HD float apply(const Fire&, float h, float s) const {
    return select(s != 0.f, v_reset, h);
  }
  template <class Fire>
  SNN_HD float by_up(const Fire&, float h) const {
    return select(live != 0.f, v_reset - h, 0.f);  // an infinite h times 0 would be NaN
  }
  template <class Fire>
  SNN_HD float by_down(const Fire& fire, float h) const {
    return -by_up(fire, h);
  }
  SNN_HD float reached(float gv, float) const { return gv; }
  template <class Fire>
  SNN_HD float passed(const Fire&, float gv, float, float) const {
    return gv;
  }
  SNN_HD float kept(float gv, float s) const { return select(s != 0.f, 0.f, gv); }
  template <class Fire>
  SNN_HD float by_theta(const Fire&, float, float, float) const {
    return 0.f;
  }
};

// Soft: values: detach, detach_v. NoReset: values: detach_v; strength is 0.
template <class Strength>
struct Subtracting {
  static constexpr bool delayed = false;
  Strength strength;
  float live, carry;

  SNN_HD Subtracting(float amount, bool detach, bool detach_v)
      : strength(amount), live(detach ? 0.f : amount), carry(detach_v ? 0.f : 1.f) {}
  SNN_HD float start() const { return 0.f; }
  template <class Fire>
  SNN_HD float before(const Fire&, float h, float) const {
    return h;
  }
  template <class Fire>
  SNN_HD float apply(const Fire& fire, float h, float s) const {
    return h - strength * fire.drop(s);
  }
  template <class Fire>
  SNN_HD float by_up(const Fire& fire, float) const {
    return -live * fire.theta;
  }
  template <class Fire>
  SNN_HD float by_down(const Fire& fire, float) const {
    return -live * fire.drop_down();
  }
  SNN_HD float reached(float gv, float) const { return gv; }
  template <class Fire>
  SNN_HD float passed(const Fire&, float gv, float, float) const {
    return gv;
  }
  SNN_HD float kept(float gv, float) const { return gv; }
  template <class Fire>
  SNN_HD float by_theta(const Fire& fire, float gv, float, float s) const {
    return -strength * gv * fire.dropped(s);
  }
};

using Soft = Subtracting<float>;

// values: v_min, detach, detach_v.
struct Bounded : Soft {
  float v_min;

  SNN_HD explicit Bounded(const float* values) : Soft(1.f, values[1] != 0.f, values[2] != 0.f), v_min(values[0]) {}
  // max(v, v_min), rounded as sinabs does.
  SNN_HD float bound(float v) const {
    const float above = v - v_min;
    return (above < 0.f ? 0.f : above) + v_min;
  }
  template <class Fire>
  SNN_HD float apply(const Fire& fire, float h, float s) const {
    return bound(Soft::apply(fire, h, s));
  }
  template <class Fire>
  SNN_HD float passed(const Fire& fire, float gv, float h, float s) const {
    return Soft::apply(fire, h, s) > v_min ? gv : 0.f;
  }
};

// values: detach. The reset of a step is subtracted from the h of the next one.
struct Delayed {
  static constexpr bool delayed = true;
  float live, carry;

  SNN_HD explicit Delayed(const float* values) : live(values[0] != 0.f ? 0.f : 1.f), carry(1.f) {}
  SNN_HD float start() const { return 0.f; }
  template <class Fire>
  SNN_HD float before(const Fire& fire, float h, float v) const {
    return h - fire.drop(fire.spikes(v, 0.f));
  }
  template <class Fire>
  SNN_HD float apply(const Fire&, float h, float) const {
    return h;
  }
  template <class Fire>
  SNN_HD float by_up(const Fire& fire, float) const {
    return -live * fire.theta;
  }
  template <class Fire>
  SNN_HD float by_down(const Fire& fire, float) const {
    return -live * fire.drop_down();
  }
  SNN_HD float reached(float, float gh) const { return gh; }
  template <class Fire>
  SNN_HD float passed(const Fire&, float gv, float, float) const {
    return gv;
  }
  SNN_HD float kept(float gv, float) const { return gv; }
  template <class Fire>
  SNN_HD float by_theta(const Fire& fire, float, float gh, float s) const {
    return -gh * fire.dropped(s);
  }
};

// f with the type of the reset.
template <class F>
void visit_reset(const Spec& spec, F&& f) {
  const float* values = spec.reset_values;
  switch (spec.reset) {
    case ResetId::Hard: return f(Hard(values));
    case ResetId::Soft: return f(Soft(1.f, values[0] != 0.f, values[1] != 0.f));
    case ResetId::NoReset: return f(Soft(0.f, false, values[0] != 0.f));
    case ResetId::Delayed: return f(Delayed(values));
    case ResetId::Bounded: return f(Bounded(values));
  }
}

}  // namespace SNN_ISA
}  // namespace snn
