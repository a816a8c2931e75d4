// The stages of a tile: each a short loop over a row of neurons that the compiler vectorises, behind one virtual
// call. Charge, fire x reset and surrogate are types of their own stage and never multiply each other.
//
// A loop exists twice: for the neuron's own numbers, and for coefficients, which come as rows, one number a neuron.
#pragma once

#include <cstdint>

#include "math/step.h"

namespace snn {
inline namespace SNN_ISA {

using Size = std::int64_t;
#define SNN_LOOP __attribute__((noinline)) static void
#define SNN_ROW float* __restrict__

// One number for each neuron of a row; null: the neuron's own numbers hold.
struct Numbers {
  const float *a = nullptr, *b = nullptr, *c = nullptr, *theta = nullptr, *alpha = nullptr;
  explicit operator bool() const { return a != nullptr; }
  Numbers from(Size j) const { return a ? Numbers{a + j, b + j, c + j, theta + j, alpha + j} : *this; }
};

// Rows of the sums by coefficient, added up over the steps; null: there are no coefficients.
struct Sums {
  float *a = nullptr, *b = nullptr, *c = nullptr, *theta = nullptr, *alpha = nullptr;
};

// The surrogate's rows of a step (struct Slopes); the levels and alphas only where sums are wanted.
struct SlopeRows {
  float *up, *down, *up_level, *down_level, *up_alpha, *down_alpha;
};

// A row before and after a step: two places, or the same potential may not be read as it is written.
struct Across {
  const float* before;
  float* after;
};

// Rows of the adjoint: dL/dv and dL/dm become those before the step; dL/dh of the next step and of this one.
struct AdjointRows {
  float *v, *m;
  Across h;
};

struct ChargeStage {
  virtual void forward(const Numbers& k, const float* v, const float* x, Across i, float* h, Size count) const = 0;
  // used: x, or the row of i that charged. gh: dL/dh.
  virtual void backward(const Numbers& k, const float* gh, const float* v, const float* used, float* gv, float* gi,
                        float* gx, const Sums& sums, Size count) const = 0;
  bool filters, late;
};

struct FireStage {
  // s: what is emitted.
  virtual void forward(const Numbers& k, float* h, Across v, Across m, float* s, Size count) const = 0;
  virtual void backward(const Numbers& k, const float* grad, const SlopeRows& p, const float* h, const float* m,
                        const AdjointRows& g, const Sums& sums, Size count) const = 0;
  // The thresholds of a step where they differ from neuron to neuron, or null.
  virtual const float* bars(const Numbers& k, const float* m, float* row, Size count) const = 0;
  bool remembers, delayed;
  float theta, start;
  Levels positive, negative;
};

template <class C>
struct ChargeLoops final : ChargeStage {
  using Stage = Charging<C>;
  Stage stage;

  explicit ChargeLoops(const Stage& s) : stage(s) {
    filters = C::filters;
    late = is_late(s.charge);
  }
  template <class Q>
  static bool is_late(const Q& charge) {
    if constexpr (Q::filters) return charge.late;
    return false;
  }

  template <bool Rows>
  static decltype(auto) one(const Stage& s, const Numbers& k, Size j) {
    if constexpr (Rows) {
      return Stage{s.charge.at(k.a[j], k.b[j], k.c[j]), s.carry};
    } else {
      return (s);  // not a copy: it would keep the loop from being vectorised
    }
  }

  template <bool Rows>
  SNN_LOOP charge_row(const Stage s, const Numbers k, const SNN_ROW v, const SNN_ROW x, const SNN_ROW i,
                      SNN_ROW i_after, SNN_ROW h, Size count) {
    for (Size j = 0; j < count; ++j) {
      const Stage& q = one<Rows>(s, k, j);
      float current = C::filters ? i[j] : 0.f;
      const float used = q.input(x[j], current);
      if (C::filters) i_after[j] = current;
      h[j] = q.forward(v[j], used);
    }
  }

  template <bool Rows>
  SNN_LOOP charge_back_row(const Stage s, const Numbers k, const SNN_ROW gh, const SNN_ROW v, const SNN_ROW used,
                           SNN_ROW gv, SNN_ROW gi, SNN_ROW gx, SNN_ROW a, SNN_ROW b, SNN_ROW c, Size count) {
    for (Size j = 0; j < count; ++j) {
      const Stage& q = one<Rows>(s, k, j);
      ChargeSums sums = {};
      float flow, current = C::filters ? gi[j] : 0.f;
      gx[j] = q.backward(gh[j], Rows ? v[j] : 0.f, Rows ? used[j] : 0.f, flow, current, sums);
      gv[j] = flow;
      if (C::filters) gi[j] = current;
      if (!Rows) continue;
      a[j] += sums.a;
      b[j] += sums.b;
      c[j] += sums.c;
    }
  }

  void forward(const Numbers& k, const float* v, const float* x, Across i, float* h, Size count) const override {
    (k ? charge_row<true> : charge_row<false>)(stage, k, v, x, i.before, i.after, h, count);
  }
  void backward(const Numbers& k, const float* gh, const float* v, const float* used, float* gv, float* gi, float* gx,
                const Sums& t, Size count) const override {
    (k ? charge_back_row<true> : charge_back_row<false>)(stage, k, gh, v, used, gv, gi, gx, t.a, t.b, t.c, count);
  }
};

template <class F, class R>
struct FireLoops final : FireStage {
  using Stage = Firing<F, R>;
  Stage stage;

  explicit FireLoops(const Stage& s) : stage(s) {
    remembers = F::remembers;
    delayed = R::delayed;
    theta = s.fire.theta;
    start = s.reset.start();
    positive = s.fire.positive();
    negative = s.fire.negative();
  }

  template <bool Rows>
  static decltype(auto) one(const Stage& s, const Numbers& k, Size j) {
    if constexpr (Rows) {
      using Own = decltype(s.fire.at(0.f));
      return Firing<Own, R>{s.fire.at(k.theta[j]), s.reset};
    } else {
      return (s);
    }
  }

  template <bool Rows>
  SNN_LOOP fire_row(const Stage st, const Numbers k, SNN_ROW h, const SNN_ROW v, SNN_ROW v_after, const SNN_ROW m,
                    SNN_ROW m_after, SNN_ROW s, Size count) {
    for (Size j = 0; j < count; ++j) {
      const auto& q = one<Rows>(st, k, j);
      float charged = h[j], now = v[j], own = F::remembers ? m[j] : 0.f;
      s[j] = q.forward(charged, now, own) * q.fire.unit();
      if (R::delayed) h[j] = charged;
      v_after[j] = now;
      if (F::remembers) m_after[j] = own;
    }
  }

  template <bool Rows>
  SNN_LOOP fire_back_row(const Stage st, const Numbers k, const SNN_ROW grad, const SlopeRows p, const SNN_ROW h,
                         const SNN_ROW m, SNN_ROW gv, SNN_ROW gm, const SNN_ROW next, SNN_ROW gh, SNN_ROW theta,
                         SNN_ROW alpha, Size count) {
    const SNN_ROW up = p.up;
    const SNN_ROW down = p.down;
    const SNN_ROW up_level = p.up_level;
    const SNN_ROW down_level = p.down_level;
    const SNN_ROW up_alpha = p.up_alpha;
    const SNN_ROW down_alpha = p.down_alpha;
    for (Size j = 0; j < count; ++j) {
      const auto& q = one<Rows>(st, k, j);
      constexpr bool both = F::negative_side;
      const Slopes slopes = {up[j],
                             both ? down[j] : 0.f,
                             Rows ? up_level[j] : 0.f,
                             Rows && both ? down_level[j] : 0.f,
                             Rows ? up_alpha[j] : 0.f,
                             Rows && both ? down_alpha[j] : 0.f};
      FireSums sums = {};
      Adjoint g = {gv[j], F::remembers ? gm[j] : 0.f, R::delayed ? next[j] : 0.f};
      gh[j] = q.backward(grad[j], slopes, h[j], F::remembers ? m[j] : 0.f, g, sums);
      if (F::remembers) gm[j] = g.m;
      if (!Rows) continue;
      theta[j] += sums.theta;
      alpha[j] += sums.alpha;
    }
  }

  template <bool Rows>
  SNN_LOOP bar_row(const Stage st, const Numbers k, const SNN_ROW m, SNN_ROW row, Size count) {
    for (Size j = 0; j < count; ++j) row[j] = one<Rows>(st, k, j).fire.bar(m[j]);
  }

  void forward(const Numbers& k, float* h, Across v, Across m, float* s, Size count) const override {
    (k ? fire_row<true> : fire_row<false>)(stage, k, h, v.before, v.after, m.before, m.after, s, count);
  }
  void backward(const Numbers& k, const float* grad, const SlopeRows& p, const float* h, const float* m,
                const AdjointRows& g, const Sums& t, Size count) const override {
    (k ? fire_back_row<true> : fire_back_row<false>)(stage, k, grad, p, h, m, g.v, g.m, g.h.before, g.h.after, t.theta,
                                                     t.alpha, count);
  }
  const float* bars(const Numbers& k, const float* m, float* row, Size count) const override {
    if constexpr (F::remembers && !F::negative_side) {
      (k ? bar_row<true> : bar_row<false>)(stage, k, m, row, count);
      return row;
    }
    return k.theta;
  }
};

// f(fire, carry) with the stage of fire and reset; carry: of the reset, for the charge.
template <class F>
void with_fire(const Spec& spec, F&& f) {
  visit_reset(spec, [&](auto reset) {
    visit_fire(spec, [&](auto fire) {
      const FireLoops<decltype(fire), decltype(reset)> stage({fire, reset});
      f(static_cast<const FireStage&>(stage), reset.carry);
    });
  });
}

template <class F>
void with_charge(const Spec& spec, float carry, F&& f) {
  visit_charge(spec, [&](auto charge) {
    const ChargeLoops<decltype(charge)> stage({charge, carry});
    f(static_cast<const ChargeStage&>(stage));
  });
}

}  // namespace SNN_ISA
}  // namespace snn
