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
  virtual void recompute(const float* x, float* v, float* h, Size count) const = 0;
  // gv: dL/dv after the step, becomes that before it.
  virtual void backward(const float* grad, const float* h, float* gv, float* gx, Size count) const = 0;
  // count: whole lines; ahead: where the next x is, from this one, or 0.
  virtual void forward_lines(const float* x, Size ahead, float* v, float* m, float* s, bool streamed,
                             Size count) const = 0;

  // The same on bfloat16 as it is stored, if `brief`.
  virtual void forward_lines(const Bf16* x, Size ahead, float* v, float* m, Bf16* s, bool streamed,
                             Size count) const = 0;
  virtual void recompute(const Bf16* x, float* v, float* h, Size count) const = 0;
  virtual void backward(const Bf16* grad, const float* h, float* gv, Bf16* gx, Size count) const = 0;
  bool brief;
};

template <class F>
constexpr bool kTaking = F::remembers && F::negative_side;

template <class F>
constexpr bool kSingle = std::is_same<F, Binary<Yes>>::value || std::is_same<F, Binary<No>>::value;

template <class F, class R>
struct QuickBack {
  template <class S>
  using Row = void (*)(const Firing<F, R>&, const Spec&, float, float, const S*, const float*, float*, S*, Size);

  // Surrogate and adjoint at once for one level, else the levels first.
  template <class P, class S>
  SNN_LOOP quick_back_row(const Firing<F, R>& fires, const Spec& spec, float dv, float dx, const S* __restrict__ grad,
                          const SNN_ROW h, SNN_ROW gv, S* __restrict__ gx, Size count) {
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
      const float gh = fires.backward(widened(grad[j]), slopes, h[j], 0.f, g, sums);
      gv[j] = gh * dv;
      narrow(gx[j], gh * dx);
    }
  }

  template <class S>
  static Row<S> row_of(const Spec& spec) {
    Row<S> row = nullptr;
    if constexpr (kSingle<F> || (!kTaking<F> && std::is_same<S, float>::value))
      visit_surrogate(spec, [&](auto surrogate) { row = quick_back_row<decltype(surrogate), S>; });
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
  typename QuickBack<F, R>::template Row<float> adjoint;
  typename QuickBack<F, R>::template Row<Bf16> brief_adjoint;

  QuickLoops(const Spec& neuron, const C& c, const F& fire, const R& reset)
      : charge(c),
        fires{fire, reset},
        spec(neuron),
        dv(c.dh_dv() * reset.carry),
        dx(c.dh_dx()),
        adjoint(QuickBack<F, R>::template row_of<float>(neuron)),
        brief_adjoint(QuickBack<F, R>::template row_of<Bf16>(neuron)) {
    brief = kSingle<F>;
  }

  SNN_LOOP emit_row(const C& charge, const Fires fires, const SNN_ROW x, SNN_ROW v, SNN_ROW m, SNN_ROW s, Size count) {
    for (Size j = 0; j < count; ++j) {
      float h = charge.charge(v[j], x[j]), now = v[j], own = F::remembers ? m[j] : 0.f;
      s[j] = fires.forward(h, now, own) * fires.fire.unit();
      v[j] = now;
      if (F::remembers) m[j] = own;
    }
  }

  // Of one threshold unit may be infinite: what bfloat16 makes of the largest numbers.
  static SNN_HD float worth(float s, float unit) {
    if constexpr (kSingle<F>) return select(s != 0.f, unit, 0.f);
    return s * unit;
  }

  // Neither the next row of x nor the spikes wait for each other: streamed, a fifth less time than row by row. unit: of
  // the fire, as it is stored.
  template <class S>
  SNN_LOOP emit_lines(const C& charge, const Fires fires, float unit, const S* __restrict__ x, Size ahead, SNN_ROW v,
                      SNN_ROW m, S* __restrict__ s, bool streamed, Size count) {
    for (Size j = 0; j < count; j += kLines) {
      alignas(64) S lines[kLines];
      if (ahead)
        for (Size k = 0; k < kLines; k += 64 / sizeof(S)) __builtin_prefetch(x + ahead + j + k);
      for (Size k = 0; k < kLines; ++k) {
        float h = charge.charge(v[j + k], widened(x[j + k])), now = v[j + k], own = F::remembers ? m[j + k] : 0.f;
        cut(lines[k], worth(fires.forward(h, now, own), unit));
        v[j + k] = now;
        if (F::remembers) m[j + k] = own;
      }
      streamed ? stream_lines(s + j, lines) : static_cast<void>(std::memcpy(s + j, lines, sizeof(lines)));
    }
  }

  template <class S>
  SNN_LOOP recompute_row(const C& charge, const Fires& fires, const S* __restrict__ x, SNN_ROW v, SNN_ROW h,
                         Size count) {
    for (Size j = 0; j < count; ++j) {
      float own = charge.charge(v[j], widened(x[j])), m = 0.f;
      h[j] = own;
      fires.forward(own, v[j], m);
    }
  }

  void forward(const float* x, float* v, float* m, float* s, Size count) const override {
    emit_row(charge, fires, x, v, m, s, count);
  }
  void recompute(const float* x, float* v, float* h, Size count) const override {
    if constexpr (!kTaking<F>) recompute_row(charge, fires, x, v, h, count);
  }
  void backward(const float* grad, const float* h, float* gv, float* gx, Size count) const override {
    adjoint(fires, spec, dv, dx, grad, h, gv, gx, count);
  }
  void forward_lines(const float* x, Size ahead, float* v, float* m, float* s, bool streamed,
                     Size count) const override {
    emit_lines(charge, fires, fires.fire.unit(), x, ahead, v, m, s, streamed, count);
  }

  void forward_lines(const Bf16* x, Size ahead, float* v, float* m, Bf16* s, bool streamed, Size count) const override {
    const float unit = from_bf16(to_bf16(fires.fire.unit()));
    if constexpr (kSingle<F>) emit_lines(charge, fires, unit, x, ahead, v, m, s, streamed, count);
  }
  void recompute(const Bf16* x, float* v, float* h, Size count) const override {
    if constexpr (kSingle<F>) recompute_row(charge, fires, x, v, h, count);
  }
  void backward(const Bf16* grad, const float* h, float* gv, Bf16* gx, Size count) const override {
    brief_adjoint(fires, spec, dv, dx, grad, h, gv, gx, count);
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

// A LIF neuron whose tau is a power of two as the PLIF neuron it is, to the bit: one instruction for six.
inline Spec with_rate(Spec spec) {
  const float tau = spec.charge_values[0];
  if (spec.charge == ChargeId::LIF && (bits_of(tau) & 0x7fffffu) == 0 && tau > 1e-30f && tau < 1e30f) {
    spec.charge = ChargeId::PLIF;
    spec.charge_values[0] = 1.f / tau;
  }
  return spec;
}

// f(stage) with the one stage of a common neuron, or with null. back: for both directions.
template <class F>
void with_quick(const Spec& neuron, bool back, F&& f) {
  if (!is_common(neuron) && (back || !is_taking(neuron))) return f(static_cast<const QuickStage*>(nullptr));
  const Spec spec = with_rate(neuron);
  visit_common<true>(spec, [&](auto charge, auto fire, auto reset) {
    const QuickLoops<decltype(charge), decltype(fire), decltype(reset)> stage(spec, charge, fire, reset);
    f(static_cast<const QuickStage*>(&stage));
  });
}

}  // namespace SNN_ISA
}  // namespace snn
