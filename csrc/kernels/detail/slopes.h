// The stage of the surrogate: rows of its derivative, summed over the levels of a fire (see stages.h).
#pragma once

#include "kernels/detail/stages.h"

namespace snn {
inline namespace SNN_ISA {

struct SurrogateStage {
  // Sums over the levels at sign * h: p, and where they are not null weighted by level, and by alpha. theta: a number,
  // or bars and alpha are rows. m: null, or level k is open where m > k.
  virtual void forward(const Levels& levels, float sign, float theta, const float* bars, const float* alpha,
                       const float* h, const float* m, float* p, float* by_level, float* by_alpha,
                       Size count) const = 0;
};

template <class P>
struct SurrogateLoops final : SurrogateStage {
  P surrogate;
  explicit SurrogateLoops(const P& p) : surrogate(p) {}

  template <bool Rows>
  static P one(const P& p, const float* alpha, Size j) {
    if constexpr (Rows && P::learns) return p.at(alpha[j]);
    return p;
  }

  // Level by level; the first writes, the others add.
  template <bool Rows, bool Gated, bool Summed>
  SNN_LOOP slope_row(const P own, const Levels levels, float sign, float theta, const SNN_ROW bars, const SNN_ROW alpha,
                     const SNN_ROW h, const SNN_ROW m, SNN_ROW p, SNN_ROW by_level, SNN_ROW by_alpha, Size count) {
    for (int k = 0; k < levels.count; ++k) {
      const float level = levels.level(k), number = static_cast<float>(k);
      for (Size j = 0; j < count; ++j) {
        const P q = one<Rows>(own, alpha, j);
        const float z = sign * h[j] - level * (Rows ? bars[j] : theta);
        const float open = Gated ? (m[j] > number ? 1.f : 0.f) : 1.f;
        const float slope = open * q.grad(z);
        p[j] = select(k > 0, p[j], 0.f) + slope;
        if (!Summed) continue;
        by_level[j] = select(k > 0, by_level[j], 0.f) + level * slope;
        by_alpha[j] = select(k > 0, by_alpha[j], 0.f) + open * q.by_alpha(z);
      }
    }
  }

  void forward(const Levels& levels, float sign, float theta, const float* bars, const float* alpha, const float* h,
               const float* m, float* p, float* by_level, float* by_alpha, Size count) const override {
    const auto rows = by_level ? (m ? slope_row<true, true, true> : slope_row<true, false, true>)
                               : (m ? slope_row<true, true, false> : slope_row<true, false, false>);
    (bars ? rows : slope_row<false, false, false>)(surrogate, levels, sign, theta, bars, alpha, h, m, p, by_level,
                                                   by_alpha, count);
  }
};

template <class F>
void with_surrogate(const Spec& spec, F&& f) {
  visit_surrogate(spec, [&](auto surrogate) {
    const SurrogateLoops<decltype(surrogate)> stage(surrogate);
    f(static_cast<const SurrogateStage&>(stage));
  });
}

}  // namespace SNN_ISA
}  // namespace snn
