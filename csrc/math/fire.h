// Fire: how many spikes a potential h makes. Formulas as in snnkern/fires.py. A NaN makes none, nor does a count of
// thresholds that are not positive (a learned one may get there).
//
// Spikes are signed counts. `positive` and `negative` are the levels, in units of theta, at which backward takes
// the surrogate; `bar` is the threshold of the step, `drop` what a soft reset subtracts, `next` the fire's own
// state m after the step; `by_memory` is what dL/ds gets through it, `remembered` dL/dm before the step, given dL/dm
// after it and dL/dz of the surrogate. `brief`: backward saves instructions at the price of other roundings than the
// reference's. `at` gives the fire of one neuron whose theta is a coefficient.
#pragma once

#include <type_traits>

#include "math/hd.h"
#include "math/spec.h"

namespace snn {
inline namespace SNN_ISA {

// Thresholds first, first + spacing, ..., `count` of them.
struct Levels {
  float first, spacing;
  int count;
  SNN_HD float level(int k) const { return first + static_cast<float>(k) * spacing; }
};

// What fires without negative spikes and without a state share.
struct OneSided {
  static constexpr bool negative_side = false, remembers = false, brief = false;
  float theta, real;

  SNN_HD OneSided(float v_threshold, float real_units) : theta(v_threshold), real(real_units != 0.f ? 1.f : 0.f) {}
  // What one spike is worth in the output: theta or 1.
  SNN_HD float unit() const { return select(real != 0.f, theta, 1.f); }
  SNN_HD float emitted(float s) const { return s * unit(); }
  SNN_HD float bar(float) const { return theta; }
  SNN_HD float drop(float s) const { return s * theta; }
  SNN_HD float drop_down() const { return theta; }
  // d drop / d theta.
  SNN_HD float dropped(float s) const { return s; }
  SNN_HD float next(float m, float) const { return m; }
  SNN_HD float by_memory(float) const { return 0.f; }
  SNN_HD float remembered(float, float) const { return 0.f; }
  SNN_HD Levels negative() const { return {1.f, 1.f, 0}; }
};

// values: v_threshold, real_units, strict.
template <class Strict>
struct Binary : OneSided {
  Strict strict;

  SNN_HD explicit Binary(const float* values) : OneSided(values[0], values[1]), strict(values[2] != 0.f) {}
  SNN_HD Binary at(float own) const {
    Binary f = *this;
    f.theta = own;
    return f;
  }
  SNN_HD float spikes(float h, float) const { return (strict ? h > theta : h >= theta) ? 1.f : 0.f; }
  SNN_HD Levels positive() const { return {1.f, 1.f, 1}; }
};

// Binary in the fewest instructions: it fires from one number on, since h > theta is h >= the next float.
struct Reaching : OneSided {
  static constexpr bool brief = true;
  float least, worth;

  explicit Reaching(const float* values)
      : OneSided(values[0], values[1]),
        least(values[2] != 0.f ? __builtin_nextafterf(theta, __builtin_inff()) : theta),
        worth(OneSided::unit()) {}
  SNN_HD float unit() const { return worth; }
  SNN_HD float spikes(float h, float) const { return h >= least ? 1.f : 0.f; }
  SNN_HD float emitted(float s) const { return select(s != 0.f, unit(), 0.f); }
  SNN_HD float drop(float s) const { return select(s != 0.f, theta, 0.f); }
  SNN_HD Levels positive() const { return {1.f, 1.f, 1}; }
};

// values: v_threshold, max_spikes, real_units. Rounded: to the nearest count (Integer), else down (Burst, MultiSpike).
// first: only the first level is one of backward.
template <class Rounded, class D = Divisor>
struct Count : OneSided {
  Rounded rounded;
  bool first;
  float most;
  D divisor;

  SNN_HD Count(const float* values, bool to_nearest, bool first_only)
      : OneSided(values[0], values[2]), rounded(to_nearest), first(first_only), most(values[1]), divisor(values[0]) {}
  template <class Other>
  SNN_HD Count(const Count<Rounded, Other>& f, float own)
      : OneSided(own, f.real), rounded(f.rounded), first(f.first), most(f.most), divisor(own) {}
  SNN_HD Count<Rounded, Division> at(float own) const { return {*this, own}; }

  SNN_HD float spikes(float h, float) const {
    const float quotient = divisor.divide(h);
    const float some = (quotient > 0.f) & (theta > 0.f) ? quotient : 0.f;
    if (rounded) return round_(min_(some, most));
    const float bounded = min_(__builtin_floorf(some), most);
    return h >= theta ? bounded : 0.f;
  }
  SNN_HD Levels positive() const { return {rounded ? 0.5f : 1.f, 1.f, first ? 1 : static_cast<int>(most)}; }
};

// A memory whose negative levels are 0, -1, -2, ... (SignedMemory's default).
struct Mirrored : Yes {
  using Yes::Yes;
};

// values: v_threshold, max_spikes, real_units, then negative_threshold, negative_reset, strict (Signed,
// SignedMemory) or strict (Ternary). StrictUp, StrictDown: how each side compares; Memory: negative spikes take
// back at most m, the sum of what was emitted.
template <class StrictUp, class StrictDown, class Memory, class D = Divisor>
struct TwoSided {
  static constexpr bool negative_side = true, remembers = !std::is_same<Memory, No>::value, brief = false;
  StrictUp strict_up;
  StrictDown strict_down;
  Memory memory;
  float theta, real, most, first, spacing, lowest, refund;
  D divisor, divisor_down;

  SNN_HD TwoSided(const float* values, float negative_first, float negative_spacing, bool up, bool down, bool sums)
      : strict_up(up),
        strict_down(down),
        memory(sums),
        theta(values[0]),
        real(values[2] != 0.f ? 1.f : 0.f),
        most(values[1]),
        first(negative_first),
        spacing(negative_spacing),
        lowest(theta * first),
        refund(theta * spacing),
        divisor(theta),
        divisor_down(refund) {}
  template <class Other>
  SNN_HD TwoSided(const TwoSided<StrictUp, StrictDown, Memory, Other>& f, float own)
      : strict_up(f.strict_up),
        strict_down(f.strict_down),
        memory(f.memory),
        theta(own),
        real(f.real),
        most(f.most),
        first(f.first),
        spacing(f.spacing),
        lowest(own * first),
        refund(own * spacing),
        divisor(own),
        divisor_down(refund) {}
  SNN_HD TwoSided<StrictUp, StrictDown, Memory, Division> at(float own) const { return {*this, own}; }

  SNN_HD float unit() const { return select(real != 0.f, theta, 1.f); }
  SNN_HD float emitted(float s) const { return s * unit(); }
  SNN_HD float bar(float) const { return theta; }
  SNN_HD float spikes(float h, float m) const {
    const float quotient = divisor.divide(h);
    if constexpr (std::is_same<Memory, Mirrored>::value) {  // one division for both sides: ceil(-q) is -floor(q)
      const float count = __builtin_floorf(quotient);
      const float back = min_(min_(max_(-count, 1.f), most), max_(m, 0.f));
      return ((h >= theta) & (theta > 0.f) ? min_(count, most) : 0.f) - ((h < 0.f) & (theta > 0.f) ? back : 0.f);
    }
    const float up = min_(__builtin_floorf(quotient), most);
    const float depth = divisor_down.divide(-h - lowest);
    const float deep = strict_down ? __builtin_ceilf(depth) : __builtin_floorf(depth) + 1.f;
    float down = min_(max_(deep, 1.f), most);
    if (memory) down = min_(down, max_(m, 0.f));
    const bool counts = theta > 0.f;
    return ((strict_up ? h > theta : h >= theta) & counts ? up : 0.f) -
           ((strict_down ? h < -lowest : h <= -lowest) & counts ? down : 0.f);
  }
  SNN_HD float drop(float s) const { return s * (s < 0.f ? refund : theta); }
  SNN_HD float drop_down() const { return refund; }
  SNN_HD float dropped(float s) const { return s * (s < 0.f ? spacing : 1.f); }
  SNN_HD float next(float m, float s) const { return memory ? m + s : m; }
  SNN_HD float by_memory(float) const { return 0.f; }
  SNN_HD float remembered(float gm, float) const { return gm; }
  SNN_HD Levels positive() const { return {1.f, 1.f, static_cast<int>(most)}; }
  SNN_HD Levels negative() const { return {first, spacing, static_cast<int>(most)}; }
};

// values: v_threshold, beta, decay, real_units.
struct Adapting : OneSided {
  static constexpr bool remembers = true;
  float beta, decay;

  SNN_HD explicit Adapting(const float* values) : OneSided(values[0], values[3]), beta(values[1]), decay(values[2]) {}
  SNN_HD Adapting at(float own) const {
    Adapting f = *this;
    f.theta = own;
    return f;
  }
  SNN_HD float bar(float m) const { return theta + beta * m; }
  SNN_HD float spikes(float h, float m) const { return h >= bar(m) ? 1.f : 0.f; }
  SNN_HD float next(float m, float s) const { return decay * m + s; }
  SNN_HD float by_memory(float gm) const { return gm; }
  SNN_HD float remembered(float gm, float gz) const { return decay * gm - beta * gz; }
  SNN_HD Levels positive() const { return {1.f, 1.f, 1}; }
};

// The negative side of a signed fire, as its dataclass has it.
struct Below {
  float first, spacing;
  bool strict_up, strict_down, memory;

  SNN_HD explicit Below(const Spec& spec) {
    const float* values = spec.fire_values;
    const bool ternary = spec.fire == FireId::Ternary;
    first = ternary ? 1.f : -values[3];
    spacing = ternary ? 1.f : values[4];
    memory = spec.fire == FireId::SignedMemory;
    strict_up = !memory && values[ternary ? 3 : 5] != 0.f;
    strict_down = strict_up || first == 0.f;
  }
  bool mirrored() const { return memory && first == 0.f && spacing == 1.f; }
};

// SignedMemory with its default levels.
using Taking = TwoSided<No, Yes, Mirrored>;

// f with the type of the fire.
template <class F>
void visit_fire(const Spec& spec, F&& f) {
  const float* values = spec.fire_values;
  switch (spec.fire) {
    case FireId::Binary: return values[2] != 0.f ? f(Binary<Yes>(values)) : f(Binary<No>(values));
    case FireId::Burst: return f(Count<No>(values, false, false));
    case FireId::MultiSpike: return f(Count<No>(values, false, true));
    case FireId::Integer: return f(Count<Yes>(values, true, false));
    case FireId::Adaptive: return f(Adapting(values));
    case FireId::Ternary:
    case FireId::Signed:
    case FireId::SignedMemory: break;
  }
  const Below b(spec);
  const auto with = [&](auto up, auto down, auto memory) {
    f(TwoSided<decltype(up), decltype(down), decltype(memory)>(values, b.first, b.spacing, up, down, memory));
  };
  if (b.mirrored()) return with(No(), Yes(), Mirrored());
  if (b.memory) return b.strict_down ? with(No(), Yes(), Yes()) : with(No(), No(), Yes());
  if (b.strict_up) return with(Yes(), Yes(), No());
  return b.strict_down ? with(No(), Yes(), No()) : with(No(), No(), No());
}

}  // namespace SNN_ISA
}  // namespace snn
