// Backward of the commonest pool, 2x2 windows that tile contiguous planes of float32, without moving planes apart: half
// of the time.
#pragma once

#include "kernels/detail/phases.h"
#include "math/pool.h"

namespace snn {
inline namespace SNN_ISA {

// Two rows of a plane, the lower one `width` behind the upper: x, counts, the gradients of all later steps (lateral)
// and where those of this step go; of the windows between them the gradient of this step and of the one behind it.
struct TileRows {
  const float* x;
  float *counts, *sums, *grad_x;
  Size width;
  const float* grad;
  float* after;

  TileRows from(Size window) const {
    const Size cell = 2 * window;
    const auto on = [&](float* row) { return row ? row + cell : row; };
    return {x + cell, on(counts), on(sums), grad_x + cell, width, grad + window, after + window};
  }
};

// N windows side by side. Counts: keys are counts, which go a step back; Values: cells of equal counts are told apart
// by their values. With counts alone it is the lateral pool, whose gradients add up over the steps.
template <int N, bool Counts, bool Values>
SNN_HD void tile_back(const TileRows& r, const Divisor& scale) {
  constexpr bool kLateral = Counts && !Values;
  const float* keys = Counts ? r.counts : r.x;
  float key[4][N], value[4][N], part[4][N], row[2][2 * N];
  for (int y = 0; y < 2; ++y) {
    unzip_few(key[2 * y], key[2 * y + 1], keys + y * r.width, N);
    if (Values) unzip_few(value[2 * y], value[2 * y + 1], r.x + y * r.width, N);
  }
  for (int q = 0; q < N; ++q) {
    float m = key[0][q], v = Values ? value[0][q] : 0.f, at = 0.f;
    for (int k = 1; k < 4; ++k) {
      const float c = key[k][q], x = Values ? value[k][q] : 0.f;
      const bool won = Values ? wins(c, x, m, v) : wins(c, m);
      m = select(won, c, m);
      v = select(won, x, v);
      at = select(won, static_cast<float>(k), at);
    }
    const float d = kLateral ? r.grad[q] - r.after[q] : r.grad[q];
    for (int k = 0; k < 4; ++k) part[k][q] = select(at == static_cast<float>(k), d, 0.f);
  }
  if (kLateral)
    for (int q = 0; q < N; ++q) r.after[q] = r.grad[q];
  for (int y = 0; y < 2; ++y) {
    zip_few(row[y], part[2 * y], part[2 * y + 1], N);
    for (int q = 0; q < 2 * N; ++q) {
      const Size cell = y * r.width + q;
      const float g = kLateral ? r.sums[cell] + row[y][q] : row[y][q];
      if (kLateral) r.sums[cell] = g;
      r.grad_x[cell] = g;
      if (Counts) r.counts[cell] -= spikes_of(r.x[cell], scale);
    }
  }
}

template <bool Counts, bool Values>
__attribute__((noinline)) void tile_back_row(const TileRows& rows, float worth, Size windows) {
  constexpr int kTogether = 8;
  const Divisor scale(worth);
  Size i = 0;
  for (; i + kTogether <= windows; i += kTogether) tile_back<kTogether, Counts, Values>(rows.from(i), scale);
  for (; i < windows; ++i) tile_back<1, Counts, Values>(rows.from(i), scale);
}

inline bool is_tiled(const PoolBackwardArgs& a) {
  const auto along = [](const Axis& b) {
    return b.kernel == 2 && b.stride == 2 && b.padding == 0 && b.dilation == 1 && b.size == 2 * b.out;
  };
  return a.inner == 1 && a.dtype == Dtype::f32 && !a.grad_state && along(a.rows) && along(a.cols);
}

// All steps of a plane, the last one first. scratch: of two planes and their windows.
template <bool Counts, bool Values>
void tile_plane(const PoolBackwardArgs& a, Size plane, float* scratch) {
  const Size width = a.cols.size, cells = a.rows.size * width, windows = a.rows.out * a.cols.out;
  float *counts = scratch, *sums = scratch + cells, *after = scratch + 2 * cells;
  const float* more = a.grad_last ? a.grad_last + plane * cells : nullptr;
  if (Counts) copy(counts, a.last + plane * cells, cells);
  for (Size i = 0; i < cells; ++i) sums[i] = more ? more[i] * (1.f / a.scale) : 0.f;
  for (Size i = 0; i < windows; ++i) after[i] = 0.f;
  for (Size t = a.T - 1; t >= 0; --t) {
    const Size at = t * a.outer + plane;
    const float* x = static_cast<const float*>(a.x) + at * cells;
    float* grad_x = static_cast<float*>(a.grad_x) + at * cells;
    const float* grad = static_cast<const float*>(a.grad) + at * windows;
    for (Size y = 0; y < a.rows.out; ++y) {
      const Size cell = 2 * y * width, window = y * a.cols.out;
      const TileRows rows = {x + cell, counts + cell, sums + cell, grad_x + cell, width, grad + window, after + window};
      tile_back_row<Counts, Values>(rows, a.scale, a.cols.out);
    }
  }
}

inline void tile_backward(const PoolBackwardArgs& a, int threads) {
  const Size floats = 2 * a.rows.size * a.cols.size + a.rows.out * a.cols.out,
             share = (a.outer + threads - 1) / threads;
  const auto run = a.mode == Pooling::lateral     ? tile_plane<true, false>
                   : a.mode == Pooling::spike_max ? tile_plane<true, true>
                                                  : tile_plane<false, false>;
  float* scratch = new float[threads * floats];
#pragma omp parallel for schedule(static, 1) num_threads(threads) if (threads > 1)
  for (int thread = 0; thread < threads; ++thread) {
    const Size end = (thread + 1) * share < a.outer ? (thread + 1) * share : a.outer;
    for (Size plane = thread * share; plane < end; ++plane) run(a, plane, scratch + thread * floats);
  }
  delete[] scratch;
}

}  // namespace SNN_ISA
}  // namespace snn
