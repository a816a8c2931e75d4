// Fire: how many spikes a potential h makes. Formulas as in snnkern/fires.py. A NaN makes none.
#pragma once

#include "math/hd.h"
#include "math/spec.h"

namespace snn {
inline namespace SNN_ISA {

// values: v_threshold, real_units. `unit` is what one spike is worth in the output.
struct Binary {
  float theta, unit;
  static constexpr int levels = 1;

  SNN_HD explicit Binary(const float* values) : theta(values[0]), unit(values[1] != 0.f ? values[0] : 1.f) {}
  SNN_HD float spikes(float h) const { return h >= theta ? 1.f : 0.f; }
};

// values: v_threshold, max_spikes, real_units.
struct Burst {
  float theta, unit, most;
  int levels;
  Divisor divisor;

  SNN_HD explicit Burst(const float* values)
      : theta(values[0]),
        unit(values[2] != 0.f ? values[0] : 1.f),
        most(values[1]),
        levels(static_cast<int>(values[1])),
        divisor(values[0]) {}

  SNN_HD float spikes(float h) const {
    const float count = __builtin_floorf(divisor.divide(h));
    const float bounded = count < most ? count : most;
    return h >= theta ? bounded : 0.f;
  }
};

template <class F>
void visit_fire(const Spec& spec, F&& f) {
  switch (spec.fire) {
    case FireId::Binary: return f(Binary(spec.fire_values));
    case FireId::Burst: return f(Burst(spec.fire_values));
  }
}

// The same choice made inside a kernel: uniform over all threads, so the branch costs a GPU next to nothing.
struct AnyFire {
  bool is_burst;
  float theta, unit;
  int levels;
  Burst burst;

  SNN_HD explicit AnyFire(const Spec& spec)
      : is_burst(spec.fire == FireId::Burst),
        theta(spec.fire_values[0]),
        unit(is_burst ? Burst(spec.fire_values).unit : Binary(spec.fire_values).unit),
        levels(is_burst ? Burst(spec.fire_values).levels : Binary::levels),
        burst(spec.fire_values) {}
  SNN_HD float spikes(float h) const { return is_burst ? burst.spikes(h) : h >= theta ? 1.f : 0.f; }
};

}  // namespace SNN_ISA
}  // namespace snn
