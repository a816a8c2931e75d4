// The stages of common neurons in one loop forward and one backward: charges without a current of their own, binary or
// burst fire (forward also what converted networks run: bursts that take back), hard or soft reset, all numbers the
// neuron's own. The same formulas and results as stages.h in 0.6-0.7
// of its time, at the price of types that multiply; backward they do not, since such a charge is two factors there.
#pragma once

#include "kernels/detail/rows.h"
#include "kernels/detail/slopes.h"

namespace snn {
inline namespace SNN_ISA {

struct QuickStage {
  // v, m: before the step, become those after it.
  virtual void forward(const float* x, float* v, float* m, float* s, Size count) const = 0;
  // s: whole cache lines that are streamed; ahead: where the next x is, from this one, or 0.
  virtual void forward_streamed(const float* x, Size ahead, float* v, float* m, float* s, Size count) const = 0;
  virtual void recompute(const float* x, float* v, float* h, Size count) const = 0;
  // gv: dL/dv after the step, becomes that before it.
  virtual void backward(const float* grad, const float* h, float* gv, float* gx, Size count) const = 0;
};

template <class F>
constexpr bool kTaking = F::remembers && F::negative_side;

template <class F>
constexpr bool kSingle = std::is_same<F, Binary<Yes>>::value || std::is_same<F, Binary<No>>::value;

template <class F, class R>
struct QuickBack {
  using Row = void (*)(const Firing<F, R>&, const Spec&, float, float, const float*, const float*, float*, float*,
                       Size);

  // Surrogate and adjoint at once for one level, else the levels first.
  template <class P>
  SNN_LOOP quick_back_row(const Firing<F, R>& fires, const Spec& spec, float dv, float dx, const SNN_ROW grad,
                          const SNN_ROW h, SNN_ROW gv, SNN_ROW gx, Size count) {
    const P surrogate(spec.surrogate_values);
    const float theta = fires.fire.theta;
    alignas(64) float p[kPiece];
    if constexpr (!kSingle<F>)
      SurrogateLoops<P>::template slope_row<false, false, false>(surrogate, fires.fire.positive(), 1.f, theta, nullptr,
                                                                 nullptr, h, nullptr, p, nullptr, nullptr, count);
    for (Size j = 0; j < count; ++j) {
      Slopes slopes;
      slopes.up = kSingle<F> ? surrogate.grad(h[j] - theta) : p[j];
      FireSums sums = {};
      Adjoint g = {gv[j], 0.f, 0.f};
      const float gh = fires.backward(grad[j], slopes, h[j], 0.f, g, sums);
      gv[j] = gh * dv;
      gx[j] = gh * dx;
    }
  }

  static Row row_of(const Spec& spec) {
    Row row = nullptr;
    if constexpr (!kTaking<F>)
      visit_surrogate(spec, [&](auto surrogate) { row = quick_back_row<decltype(surrogate)>; });
    return row;
  }
};

template <class C, class F, class R>
struct QuickLoops final : QuickStage {
  using Fires = Firing<F, R>;
  C charge;
  Fires fires;
  const Spec& spec;
  float dv, dx;
  typename QuickBack<F, R>::Row adjoint;

  QuickLoops(const Spec& neuron, const C& c, const F& fire, const R& reset)
      : charge(c),
        fires{fire, reset},
        spec(neuron),
        dv(c.dh_dv() * reset.carry),
        dx(c.dh_dx()),
        adjoint(QuickBack<F, R>::row_of(neuron)) {}

  SNN_LOOP emit_row(const C& charge, const Fires fires, const SNN_ROW x, SNN_ROW v, SNN_ROW m, SNN_ROW s, Size count) {
    for (Size j = 0; j < count; ++j) {
      float h = charge.charge(v[j], x[j]), now = v[j], own = F::remembers ? m[j] : 0.f;
      s[j] = fires.forward(h, now, own) * fires.fire.unit();
      v[j] = now;
      if (F::remembers) m[j] = own;
    }
  }

  // Neither the next row of x nor the spikes wait for each other: a fifth less time than row by row.
  SNN_LOOP emit_streamed(const C& charge, const Fires fires, const SNN_ROW x, Size ahead, SNN_ROW v, SNN_ROW m,
                         SNN_ROW s, Size count) {
    for (Size j = 0; j < count; j += kLines) {
      alignas(64) float lines[kLines];
      if (ahead)
        for (Size k = 0; k < kLines; k += 16) __builtin_prefetch(x + ahead + j + k);
      for (Size k = 0; k < kLines; ++k) {
        float h = charge.charge(v[j + k], x[j + k]), now = v[j + k], own = F::remembers ? m[j + k] : 0.f;
        lines[k] = fires.forward(h, now, own) * fires.fire.unit();
        v[j + k] = now;
        if (F::remembers) m[j + k] = own;
      }
      stream_lines(s + j, lines);
    }
  }

  SNN_LOOP recompute_row(const C& charge, const Fires& fires, const SNN_ROW x, SNN_ROW v, SNN_ROW h, Size count) {
    for (Size j = 0; j < count; ++j) {
      float own = charge.charge(v[j], x[j]), m = 0.f;
      h[j] = own;
      fires.forward(own, v[j], m);
    }
  }

  void forward(const float* x, float* v, float* m, float* s, Size count) const override {
    emit_row(charge, fires, x, v, m, s, count);
  }
  void forward_streamed(const float* x, Size ahead, float* v, float* m, float* s, Size count) const override {
    emit_streamed(charge, fires, x, ahead, v, m, s, count);
  }
  void recompute(const float* x, float* v, float* h, Size count) const override {
    if constexpr (!kTaking<F>) recompute_row(charge, fires, x, v, h, count);
  }
  void backward(const float* grad, const float* h, float* gv, float* gx, Size count) const override {
    adjoint(fires, spec, dv, dx, grad, h, gv, gx, count);
  }
};

// Whether a neuron is one of these, in both directions or forward alone.
inline bool is_common(const Spec& spec) {
  const bool counts = spec.fire == FireId::Burst || spec.fire == FireId::MultiSpike;
  return (spec.fire == FireId::Binary || counts) && !spec.delayed() && !spec.filters();
}
inline bool is_taking(const Spec& spec) { return Below(spec).mirrored() && !spec.delayed() && !spec.filters(); }

// f(charge, fire, reset) for one of them; Bursts: not only one threshold.
template <bool Bursts, class F>
void visit_common(const Spec& spec, F&& f) {
  visit_charge(spec, [&](auto charge) {
    visit_fire(spec, [&](auto fire) {
      visit_reset(spec, [&](auto reset) {
        using C = std::decay_t<decltype(charge)>;
        using Fire = std::decay_t<decltype(fire)>;
        constexpr bool bursts = std::is_same<Fire, Count<No>>::value || std::is_same<Fire, Taking>::value;
        constexpr bool known = kSingle<Fire> || (Bursts && bursts);
        if constexpr (known && !std::decay_t<decltype(reset)>::delayed && !C::filters) f(charge, fire, reset);
      });
    });
  });
}

// f(stage) with the one stage of a common neuron, or with null. back: for both directions.
template <class F>
void with_quick(const Spec& spec, bool back, F&& f) {
  if (!is_common(spec) && (back || !is_taking(spec))) return f(static_cast<const QuickStage*>(nullptr));
  visit_common<true>(spec, [&](auto charge, auto fire, auto reset) {
    const QuickLoops<decltype(charge), decltype(fire), decltype(reset)> stage(spec, charge, fire, reset);
    f(static_cast<const QuickStage*>(&stage));
  });
}

}  // namespace SNN_ISA
}  // namespace snn
