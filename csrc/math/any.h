// Fire, reset and surrogate chosen inside a kernel: uniform over all threads, so a branch costs a GPU next to nothing,
// while as types of kernels they would multiply them. Fire and surrogate are visited once for a row of neurons.
#pragma once

#include "math/fire.h"
#include "math/reset.h"
#include "math/surrogate.h"

namespace snn {
inline namespace SNN_ISA {

struct AnyFire {
  enum Kind : int { kBinary, kCount, kTwoSided, kAdapting };

  Kind kind;
  bool remembers;  // it has a state m
  bool gates;      // negative level k is open where m > k
  float theta;
  Binary<bool> binary;
  Count<bool> count;
  TwoSided<bool, bool, bool> two_sided;
  Adapting adapting;
  Levels positive = {1.f, 1.f, 0}, negative = {1.f, 1.f, 0};

  explicit AnyFire(const Spec& spec) : AnyFire(spec, spec.fire_values, Below(spec)) {
    visit_fire(spec, [&](const auto& fire) {
      positive = fire.positive();
      negative = fire.negative();
    });
  }

  // f with the fire in its own type.
  template <class F>
  SNN_HD void visit(F&& f) const {
    switch (kind) {
      case kBinary: return f(binary);
      case kCount: return f(count);
      case kTwoSided: return f(two_sided);
      case kAdapting: return f(adapting);
    }
  }
  // own: theta of the neuron.
  SNN_HD float bar(float own, float m) const { return kind == kAdapting ? adapting.at(own).bar(m) : own; }

 private:
  AnyFire(const Spec& spec, const float* values, const Below& below)
      : kind(kind_of(spec.fire)),
        remembers(spec.remembers()),
        gates(below.memory),
        theta(values[0]),
        binary(values),
        count(values, spec.fire == FireId::Integer, spec.fire == FireId::MultiSpike),
        two_sided(values, below.first, below.spacing, below.strict_up, below.strict_down, below.memory),
        adapting(values) {}

  static Kind kind_of(FireId fire) {
    switch (fire) {
      case FireId::Binary: return kBinary;
      case FireId::Burst:
      case FireId::MultiSpike:
      case FireId::Integer: return kCount;
      case FireId::Adaptive: return kAdapting;
      case FireId::Ternary:
      case FireId::Signed:
      case FireId::SignedMemory: break;
    }
    return kTwoSided;
  }
};

struct AnyReset {
  bool hard = false, delayed = false, bounded = false;
  float carry = 1.f, first = 0.f;

  explicit AnyReset(const Spec& spec)
      : hard_(spec.reset_values), soft_(0.f, false, false), delayed_(spec.reset_values), bound_(spec.reset_values) {
    visit_reset(spec, [&](const auto& reset) {
      carry = reset.carry;
      first = reset.start();
      choose(reset);
    });
  }
  SNN_HD float start() const { return first; }
  template <class Fire>
  SNN_HD float before(const Fire& fire, float h, float v) const {
    return delayed ? delayed_.before(fire, h, v) : h;
  }
  template <class Fire>
  SNN_HD float apply(const Fire& fire, float h, float s) const {
    const float v = hard ? hard_.apply(fire, h, s) : delayed ? h : soft_.apply(fire, h, s);
    return bounded ? bound_.bound(v) : v;
  }
  template <class Fire>
  SNN_HD float passed(const Fire& fire, float gv, float h, float s) const {
    return bounded ? bound_.passed(fire, gv, h, s) : gv;
  }
  template <class Fire>
  SNN_HD float by_up(const Fire& fire, float h) const {
    return hard ? hard_.by_up(fire, h) : soft_.by_up(fire, h);
  }
  template <class Fire>
  SNN_HD float by_down(const Fire& fire, float h) const {
    return hard ? hard_.by_down(fire, h) : soft_.by_down(fire, h);
  }
  SNN_HD float reached(float gv, float gh) const { return delayed ? gh : gv; }
  SNN_HD float kept(float gv, float s) const { return hard ? hard_.kept(gv, s) : soft_.kept(gv, s); }
  template <class Fire>
  SNN_HD float by_theta(const Fire& fire, float gv, float gh, float s) const {
    return hard ? hard_.by_theta(fire, gv, gh, s) : soft_.by_theta(fire, delayed ? gh : gv, gh, s);
  }

 private:
  void choose(const Hard& reset) {
    hard = true;
    hard_ = reset;
  }
  void choose(const Soft& reset) { soft_ = reset; }
  // Backward it is a soft reset of the h of the next step.
  void choose(const Delayed& reset) {
    delayed = true;
    delayed_ = reset;
    soft_ = Soft(1.f, reset.live == 0.f, false);
  }
  void choose(const Bounded& reset) {
    bounded = true;
    soft_ = reset;
    bound_ = reset;
  }

  Hard hard_;
  Soft soft_;
  Delayed delayed_;
  Bounded bound_;
};

// All of them, made on the host: what they derive from alpha would take registers in a kernel.
struct AnySurrogate {
#define SNN_MEMBER(name) name as_##name;
  SNN_SURROGATES(SNN_MEMBER)
#undef SNN_MEMBER
  SurrogateId id;

  explicit AnySurrogate(const Spec& spec)
      :
#define SNN_INITIALIZER(name) as_##name(spec.surrogate_values),
        SNN_SURROGATES(SNN_INITIALIZER)
#undef SNN_INITIALIZER
            id(spec.surrogate) {
  }

  template <class F>
  SNN_HD void visit(F&& f) const {
    switch (id) {
#define SNN_CASE(name) \
  case SurrogateId::name: return f(as_##name);
      SNN_SURROGATES(SNN_CASE)
#undef SNN_CASE
    }
  }
};

}  // namespace SNN_ISA
}  // namespace snn
