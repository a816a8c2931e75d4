// As quick.h where numbers of a neuron with one threshold are coefficients: one loop forward, one backward, sums
// included. A charge is two factors backward, and its sums follow from those of gh, gh * x and gh * v.
#pragma once

#include "kernels/detail/quick.h"

namespace snn {
inline namespace SNN_ISA {

struct QuickRowStage {
  virtual void forward(const Numbers& k, const float* x, Across v, float* s, Size count) const = 0;
  virtual void recompute(const Numbers& k, const float* x, Across v, float* h, Size count) const = 0;
  // dv, dx: dL/dv before and dL/dx of a step, for each dL/dh.
  virtual void factors(const Numbers& k, float* dv, float* dx, Size count) const = 0;
  // x, v: of the step, where sums are wanted: a, b and c get those of gh * v, gh * x and gh.
  virtual void backward(const Numbers& k, const float* dv, const float* dx, const float* grad, const float* h,
                        const float* x, const float* v, float* gv, float* gx, const Sums& sums, Size count) const = 0;
  // a, b and c from these sums.
  virtual void finish(const Numbers& k, const Sums& sums, Size count) const = 0;
};

template <class F, class R>
struct QuickRowBack {
  using Row = void (*)(const Firing<F, R>&, const Spec&, const float*, const float*, const float*, const float*,
                       const float*, const float*, const float*, float*, float*, float*, float*, float*, float*, Size);

  template <class P, bool Summed>
  SNN_LOOP quick_sum_row(const Firing<F, R>& fires, const Spec& spec, const SNN_ROW thetas, const SNN_ROW dv,
                         const SNN_ROW dx, const SNN_ROW grad, const SNN_ROW h, const SNN_ROW x, const SNN_ROW v,
                         SNN_ROW gv, SNN_ROW gx, SNN_ROW by_v, SNN_ROW by_x, SNN_ROW by_one, SNN_ROW by_theta,
                         Size count) {
    const P surrogate(spec.surrogate_values);
    for (Size j = 0; j < count; ++j) {
      const Firing<F, R> own = {fires.fire.at(thetas[j]), fires.reset};
      Slopes slopes;
      slopes.up = slopes.up_level = surrogate.grad(h[j] - thetas[j]);
      FireSums sums = {};
      Adjoint g = {gv[j], 0.f, 0.f};
      const float gh = own.backward(grad[j], slopes, h[j], 0.f, g, sums);
      gv[j] = gh * dv[j];
      gx[j] = gh * dx[j];
      if (!Summed) continue;
      by_v[j] += gh * v[j];
      by_x[j] += gh * x[j];
      by_one[j] += gh;
      by_theta[j] += sums.theta;
    }
  }

  template <bool Summed>
  static Row row_of(const Spec& spec) {
    Row row = nullptr;
    visit_surrogate(spec, [&](auto surrogate) { row = quick_sum_row<decltype(surrogate), Summed>; });
    return row;
  }
};

template <class C>
struct ChargeRows {
  SNN_LOOP factor_row(const C& charge, float carry, const Numbers k, SNN_ROW dv, SNN_ROW dx, Size count) {
    for (Size j = 0; j < count; ++j) {
      const C own = charge.at(k.a[j], k.b[j], k.c[j]);
      dv[j] = carry * own.dh_dv();
      dx[j] = own.dh_dx();
    }
  }

  SNN_LOOP finish_row(const C& charge, const Numbers k, SNN_ROW a, SNN_ROW b, const SNN_ROW c, Size count) {
    for (Size j = 0; j < count; ++j) {
      const C own = charge.at(k.a[j], k.b[j], k.c[j]);
      const float one = c[j], x = b[j], v = a[j];
      a[j] = own.dh_da(one, x, v);
      b[j] = own.dh_db(one, x, v);
    }
  }
};

template <class C, class F, class R>
struct QuickRowLoops final : QuickRowStage {
  using Fires = Firing<F, R>;
  C charge;
  Fires fires;
  const Spec& spec;
  typename QuickRowBack<F, R>::Row plain, summed;

  QuickRowLoops(const Spec& neuron, const C& c, const F& fire, const R& reset)
      : charge(c),
        fires{fire, reset},
        spec(neuron),
        plain(QuickRowBack<F, R>::template row_of<false>(neuron)),
        summed(QuickRowBack<F, R>::template row_of<true>(neuron)) {}

  // What is emitted, or h.
  template <bool Emits>
  SNN_LOOP quick_row(const C& charge, const Fires& fires, const Numbers k, const SNN_ROW x, const SNN_ROW v,
                     SNN_ROW v_after, SNN_ROW out, Size count) {
    for (Size j = 0; j < count; ++j) {
      const C own = charge.at(k.a[j], k.b[j], k.c[j]);
      const Fires firing = {fires.fire.at(k.theta[j]), fires.reset};
      float h = own.charge(v[j], x[j]), now = v[j], m = 0.f;
      const float charged = h;
      const float s = firing.forward(h, now, m) * firing.fire.unit();
      v_after[j] = now;
      out[j] = Emits ? s : charged;
    }
  }

  void forward(const Numbers& k, const float* x, Across v, float* s, Size count) const override {
    quick_row<true>(charge, fires, k, x, v.before, v.after, s, count);
  }
  void recompute(const Numbers& k, const float* x, Across v, float* h, Size count) const override {
    quick_row<false>(charge, fires, k, x, v.before, v.after, h, count);
  }
  void factors(const Numbers& k, float* dv, float* dx, Size count) const override {
    ChargeRows<C>::factor_row(charge, fires.reset.carry, k, dv, dx, count);
  }
  void backward(const Numbers& k, const float* dv, const float* dx, const float* grad, const float* h, const float* x,
                const float* v, float* gv, float* gx, const Sums& t, Size count) const override {
    (t.a ? summed : plain)(fires, spec, k.theta, dv, dx, grad, h, x, v, gv, gx, t.a, t.b, t.c, t.theta, count);
  }
  void finish(const Numbers& k, const Sums& t, Size count) const override {
    ChargeRows<C>::finish_row(charge, k, t.a, t.b, t.c, count);
  }
};

// f(stage) with the one stage of a common neuron with such coefficients, or with null.
template <class F>
void with_quick_rows(const Spec& spec, F&& f) {
  if (spec.rows[kAlpha] >= 0 || !is_common(spec) || spec.fire != FireId::Binary)
    return f(static_cast<const QuickRowStage*>(nullptr));
  visit_common<false>(spec, [&](auto charge, auto fire, auto reset) {
    const QuickRowLoops<decltype(charge), decltype(fire), decltype(reset)> stage(spec, charge, fire, reset);
    f(static_cast<const QuickRowStage*>(&stage));
  });
}

}  // namespace SNN_ISA
}  // namespace snn
