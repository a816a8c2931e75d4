// The states of a tile, and the second input that rows may have.
#pragma once

#include "kernels/detail/rows.h"
#include "kernels/detail/stages.h"
#include "kernels/multistep.h"

namespace snn {
inline namespace SNN_ISA {

inline void fill(float* v, const float* from, float start, Size m) {
  for (Size j = 0; j < m; ++j) v[j] = from ? from[j] : start;
}

inline void add(float* to, const float* from, Size m) {
  for (Size j = 0; j < m; ++j) to[j] += from[j];
}

inline void add_both(float* __restrict__ to, const float* a, const float* b, Size m) {
  for (Size j = 0; j < m; ++j) to[j] = a[j] + b[j];
}

// The state variables of a tile: places of v, i and m, each [steps, M]; those that the neuron lacks are untouched.
template <Size Steps, Size M>
struct States {
  alignas(64) float v[Steps][M], i[Steps][M], m[Steps][M];

  // Step t from `rows` [S, n], or from the start.
  void load(Size t, const Spec& spec, const float* rows, Size n, float start, Size count) {
    fill(v[t], rows, start, count);
    if (spec.filters()) fill(i[t], rows ? rows += n : nullptr, 0.f, count);
    if (spec.remembers()) fill(m[t], rows ? rows += n : nullptr, 0.f, count);
  }
  void store(Size t, const Spec& spec, float* rows, Size n, Size count) const {
    copy(rows, v[t], count);
    if (spec.filters()) copy(rows += n, i[t], count);
    if (spec.remembers()) copy(rows += n, m[t], count);
  }
};

// The second input of a row, and what neurons see if it is added to x.
struct Second {
  Row from, sum;
  Connect connect;

  Second(const ForwardArgs& args, bool streamed)
      : from(row_of(args.residual, args, false)),
        sum(row_of(args.sum, args, streamed)),
        connect(args.residual ? args.connect : Connect::none) {}

  // x + residual at `here`, rounded as it is stored; in: room for it.
  const float* before(Size here, const float* x, float* in, Size m) const {
    if (connect != Connect::ms) return x;
    alignas(64) float more[kPiece];
    float* to = sum.base ? sum.target(here, in) : in;
    add_both(to, x, from.read(here, m, more), m);
    round_row(to, sum.dtype, m);
    if (sum.base) sum.write(here, m, to);
    return to;
  }
  void after(Size here, float* emitted, Size m) const {
    if (connect != Connect::sew) return;
    alignas(64) float more[kPiece];
    add(emitted, from.read(here, m, more), m);
  }
};

}  // namespace SNN_ISA
}  // namespace snn
