// Backward of pools by way of their winners: cells gather from the windows that they won.
#pragma once

#include "kernels/detail/window.cuh"

namespace snn::gpu {
namespace {

// A cell's gradients of all steps from the windows that it won, row `extra` + t of `which`.
template <class E, int V, class W>
__global__ void __launch_bounds__(kThreads, kLightBlocks)
    pool_gather(const PoolBackwardArgs a, const Divisor scale, const W* which, int extra) {
  const std::int64_t i = first_neuron<V>();
  if (i >= a.cells()) return;
  const bool bfloat = a.dtype == Dtype::bf16, lateral = a.mode == Pooling::lateral;
  const Spot cell(i, a.rows.size, a.cols.size, a.inner);
  const auto first = [](const Axis& b, std::int64_t place) {
    const std::int64_t room = place - (b.kernel - 1) * b.dilation;
    return room > 0 ? (room + b.stride - 1) / b.stride : 0;
  };
  const std::int64_t y = cell.row + a.rows.padding, x = cell.col + a.cols.padding;
  const std::int64_t top = first(a.rows, y), left = first(a.cols, x);
  const E* grad = static_cast<const E*>(a.grad);
  float sum[V];
  load_state(a.grad_last ? a.grad_last + i : nullptr, 0.f, sum);
#pragma unroll
  for (int j = 0; j < V; ++j) sum[j] = scale.divide(sum[j]);
#pragma unroll 1
  for (std::int64_t t = a.T - 1; t >= -extra; --t) {
    if (!lateral) load_state(nullptr, 0.f, sum);
    for (std::int64_t oy = top; oy < a.rows.out && oy * a.rows.stride <= y; ++oy) {
      const std::int64_t dy = y - oy * a.rows.stride;
      if (dy % a.rows.dilation) continue;
      for (std::int64_t ox = left; ox < a.cols.out && ox * a.cols.stride <= x; ++ox) {
        const std::int64_t dx = x - ox * a.cols.stride;
        if (dx % a.cols.dilation) continue;
        const int tap = static_cast<int>(dy / a.rows.dilation * a.cols.kernel + dx / a.cols.dilation);
        const std::int64_t place = ((cell.outer * a.rows.out + oy) * a.cols.out + ox) * a.inner + cell.channel;
        const Vector<W, V> won = load<V>(which + (t + extra) * a.outputs() + place);
        float now[V] = {}, after[V] = {};
        if (t >= 0) widen(load<V>(grad + t * a.outputs() + place), bfloat, now);
        if (lateral && t + 1 < a.T) widen(load<V>(grad + (t + 1) * a.outputs() + place), bfloat, after);
#pragma unroll
        for (int j = 0; j < V; ++j) sum[j] += won.at[j] == tap ? now[j] - after[j] : 0.f;
      }
    }
    if (t >= 0) store(static_cast<E*>(a.grad_x) + t * a.cells() + i, sum, bfloat);
  }
  if (!a.grad_state) return;
#pragma unroll
  for (int j = 0; j < V; ++j) sum[j] *= a.scale;
  store_state(a.grad_state + i, sum);
}

// Windows kStep apart, of which a tile of kStep x kStep cells meets at most kMeet x kMeet.
constexpr int kStep = 2, kMeet = 2;

bool overlaps_little(const PoolArgs& a) {
  const auto along = [](const Axis& b) { return b.stride == kStep && b.dilation == 1 && b.kernel <= kMeet * kStep; };
  return along(a.rows) && along(a.cols);
}

// Tiles along one direction, the first of which begins where the padding does.
SNN_HD std::int64_t tiles_along(const Axis& b) { return (b.size + b.padding + kStep - 1) / kStep; }

// pool_gather for such windows: a thread has the cells of a tile, and loads the gradient of a window once for them all.
template <class E, int V>
__global__ void __launch_bounds__(kThreads, kHeavyBlocks)
    pool_gather_tile(const PoolBackwardArgs a, const Divisor scale, const std::uint8_t* which, int extra) {
  constexpr int kCells = kStep * kStep, kWindows = kMeet * kMeet;
  const Spot tile(first_neuron<V>(), tiles_along(a.rows), tiles_along(a.cols), a.inner);
  if (tile.outer >= a.outer) return;
  const bool bfloat = a.dtype == Dtype::bf16, lateral = a.mode == Pooling::lateral;
  std::int64_t cell[kCells], window[kWindows];  // -1: there is none
  float sum[kCells][V];
  Whole<E, V> after[kWindows] = {};
#pragma unroll
  for (int c = 0; c < kCells; ++c) {
    const std::int64_t y = tile.row * kStep + c / kStep - a.rows.padding;
    const std::int64_t x = tile.col * kStep + c % kStep - a.cols.padding;
    const bool inside = y >= 0 && y < a.rows.size && x >= 0 && x < a.cols.size;
    cell[c] = inside ? ((tile.outer * a.rows.size + y) * a.cols.size + x) * a.inner + tile.channel : -1;
    load_state(a.grad_last && inside ? a.grad_last + cell[c] : nullptr, 0.f, sum[c]);
#pragma unroll
    for (int j = 0; j < V; ++j) sum[c][j] = scale.divide(sum[c][j]);
  }
#pragma unroll
  for (int w = 0; w < kWindows; ++w) {
    const std::int64_t oy = tile.row - (kMeet - 1) + w / kMeet, ox = tile.col - (kMeet - 1) + w % kMeet;
    const bool inside = oy >= 0 && oy < a.rows.out && ox >= 0 && ox < a.cols.out;
    window[w] = inside ? ((tile.outer * a.rows.out + oy) * a.cols.out + ox) * a.inner + tile.channel : -1;
  }
  const int rows = static_cast<int>(a.rows.kernel), cols = static_cast<int>(a.cols.kernel);
#pragma unroll 1
  for (std::int64_t t = a.T - 1; t >= -extra; --t) {
    Vector<std::uint8_t, V> won[kWindows];
    Whole<E, V> now[kWindows] = {};
#pragma unroll
    for (int w = 0; w < kWindows; ++w) {
      if (window[w] < 0) continue;
      won[w] = load<V>(which + (t + extra) * a.outputs() + window[w]);
      const E* grad = static_cast<const E*>(a.grad) + t * a.outputs() + window[w];
      if (t >= 0) now[w] = *reinterpret_cast<const Whole<E, V>*>(grad);
    }
#pragma unroll
    for (int c = 0; c < kCells; ++c)
      if (!lateral) load_state(nullptr, 0.f, sum[c]);
#pragma unroll
    for (int w = 0; w < kWindows; ++w) {
      if (window[w] < 0) continue;
      float came[V], late[V];
      widen(reinterpret_cast<const Vector<E, V>&>(now[w]), bfloat, came);
      widen(reinterpret_cast<const Vector<E, V>&>(after[w]), bfloat, late);
      if (lateral) after[w] = now[w];
#pragma unroll
      for (int c = 0; c < kCells; ++c) {
        const int dy = (kMeet - 1 - w / kMeet) * kStep + c / kStep, dx = (kMeet - 1 - w % kMeet) * kStep + c % kStep;
        if (dy >= rows || dx >= cols) continue;
#pragma unroll
        for (int j = 0; j < V; ++j) sum[c][j] += won[w].at[j] == dy * cols + dx ? came[j] - late[j] : 0.f;
      }
    }
#pragma unroll
    for (int c = 0; c < kCells; ++c)
      if (t >= 0 && cell[c] >= 0) store(static_cast<E*>(a.grad_x) + t * a.cells() + cell[c], sum[c], bfloat);
  }
#pragma unroll
  for (int c = 0; c < kCells; ++c) {
    if (!a.grad_state || cell[c] < 0) continue;
#pragma unroll
    for (int j = 0; j < V; ++j) sum[c][j] *= a.scale;
    store_state(a.grad_state + cell[c], sum[c]);
  }
}

}  // namespace
}  // namespace snn::gpu
