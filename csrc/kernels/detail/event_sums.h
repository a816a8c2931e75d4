// Sums of weights over events: what some neurons of a position get in a block of steps, in registers.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/detail/event_lists.h"
#include "kernels/events.h"

namespace snn {
inline namespace SNN_ISA {

#if defined(__AVX512F__)
#define SNN_VECTOR 64
constexpr int kAccumulators = 16;
#elif defined(__AVX2__)
#define SNN_VECTOR 32
constexpr int kAccumulators = 8;
#else
#define SNN_VECTOR 16
constexpr int kAccumulators = 8;
#endif
constexpr int kLanes = SNN_VECTOR / 4;
constexpr int kChains = 8;  // independent sums, which a multiply-add's latency asks for

using Vector = float __attribute__((vector_size(SNN_VECTOR)));
using Loose = float __attribute__((vector_size(SNN_VECTOR), aligned(4), may_alias));
using Bits = std::uint32_t __attribute__((vector_size(SNN_VECTOR)));
using Halves = std::uint16_t __attribute__((vector_size(SNN_VECTOR / 2), aligned(2), may_alias));
using Bytes = std::int8_t __attribute__((vector_size(SNN_VECTOR / 4), aligned(1), may_alias));

struct StoredBf16 {
  std::uint16_t bits;
};

SNN_HD Vector vector_at(const float* p) { return *reinterpret_cast<const Loose*>(p); }
SNN_HD Vector vector_at(const StoredBf16* p) {
  return reinterpret_cast<Vector>(__builtin_convertvector(*reinterpret_cast<const Halves*>(p), Bits) << 16);
}
SNN_HD Vector vector_at(const std::int8_t* p) {
  return __builtin_convertvector(*reinterpret_cast<const Bytes*>(p), Vector);
}

// What the outputs of a row look at: for each tap that has an input, its events and weights.
struct Taps {
  const std::int32_t *rows, *cols;  // inputs of the row [kernel_rows] and of its outputs [outputs, kernel_cols], or -1
  Size kernel_rows, kernel_cols, outputs;
  Size first_row, width;  // of the list
  Size tap;               // elements between the weights of two taps, 0 if they are shared
};

// Where the sums of a row go: those of output x and step t to to + t * step + x * output. base: [kBlock], what they
// start from, or null: what is there. scales: [kBlock], or null. steps, count: of the steps and channels, those that
// are there.
struct Landing {
  float* to;
  Size step, output, steps;
  const float *base, *scales;
  Size count;
};

// Sums of one output, or of two side by side: what both look at is read once for them.
template <int Steps, int Outputs, int W, class Weight>
struct EventSums {
  static constexpr int kOwn = Steps * Outputs * W, kSets = kOwn >= kChains ? 1 : kChains / kOwn;
  Vector at[kSets][Outputs][Steps][W];

  // Outputs first .. end see an event.
  template <int First, int End>
  SNN_HD void one(int set, const Weight* const* weights, Size offset, const float* values) {
    Vector w[Outputs][W];
#pragma GCC unroll 2
    for (int o = First; o < End; ++o)
#pragma GCC unroll 8
      for (int i = 0; i < W; ++i) w[o][i] = vector_at(weights[o] + offset + i * kLanes);
#pragma GCC unroll 8
    for (int t = 0; t < Steps; ++t) {
      const Vector count = values[t] - Vector{};
#pragma GCC unroll 2
      for (int o = First; o < End; ++o)
#pragma GCC unroll 8
        for (int i = 0; i < W; ++i) at[set][o][t][i] += count * w[o][i];
    }
  }

  template <int First, int End>
  SNN_HD void add(const Weight* const* weights, const Events& events, Size column) {
    const Size end = events.ends[column];
    Size e = events.ends[column - 1];
    for (; e + kSets <= end; e += kSets) {
#pragma GCC unroll 8
      for (int set = 0; set < kSets; ++set)
        one<First, End>(set, weights, events.offsets[e + set], events.values + (e + set) * Steps);
    }
    if (kSets > 1)
      for (; e < end; ++e) one<First, End>(0, weights, events.offsets[e], events.values + e * Steps);
  }

  // A row of taps. Two outputs walk along their inputs together: those of both, of the first, of the second.
  SNN_HD void add_taps(const Weight* weights, const Taps& taps, const Events& events, Size x) {
    const std::int32_t* cols = taps.cols + x * taps.kernel_cols;
    const Weight* own[Outputs] = {weights};
    if constexpr (Outputs == 1) {
      for (Size k = 0; k < taps.kernel_cols; ++k, own[0] += taps.tap)
        if (cols[k] >= 0) add<0, 1>(own, events, cols[k]);
    } else {
      const std::int32_t* next = cols + taps.kernel_cols;
      own[1] = weights;
      Size a = 0, b = 0;
      while (a < taps.kernel_cols || b < taps.kernel_cols) {
        const bool first = a < taps.kernel_cols && (b == taps.kernel_cols || cols[a] <= next[b]);
        const bool second = b < taps.kernel_cols && (a == taps.kernel_cols || next[b] <= cols[a]);
        const Size column = first ? cols[a] : next[b];
        if (column >= 0) {
          if (first && second)
            add<0, 2>(own, events, column);
          else if (first)
            add<0, 1>(own, events, column);
          else
            add<1, 2>(own, events, column);
        }
        if (first) ++a, own[0] += taps.tap;
        if (second) ++b, own[1] += taps.tap;
      }
    }
  }

  SNN_HD Vector total(int o, int t, int i) const {
    Vector sum = at[0][o][t][i];
#pragma GCC unroll 8
    for (int set = 1; set < kSets; ++set) sum += at[set][o][t][i];
    return sum;
  }

  // channel: of the first of these sums within the block.
  SNN_HD void land(const Landing& l, Size x, Size channel) const {
    const bool whole = l.base && !l.scales && l.steps >= Steps && l.count - channel >= W * kLanes;
#pragma GCC unroll 2
    for (int o = 0; o < Outputs; ++o) {
      float* to = l.to + (x + o) * l.output + channel;
#pragma GCC unroll 8
      for (int t = 0; t < Steps; ++t, to += l.step)
#pragma GCC unroll 8
        for (int i = 0; i < W; ++i) {
          Vector sum = total(o, t, i);
          if (whole)
            *reinterpret_cast<Loose*>(to + i * kLanes) = sum + vector_at(l.base + channel + i * kLanes);
          else if (t < l.steps)
            put(sum, l, to + i * kLanes, channel + i * kLanes);
        }
    }
  }

  // Some lanes, or onto what is there.
  __attribute__((noinline)) static void put(Vector sum, const Landing& l, float* to, Size channel) {
    const Size left = l.count - channel;
    if (left <= 0) return;
    if (l.scales) sum *= vector_at(l.scales + channel);
    if (l.base) sum += vector_at(l.base + channel);
    float part[kLanes];
    std::memcpy(part, &sum, sizeof part);
    for (Size j = 0; j < kLanes && j < left; ++j) to[j] = l.base ? part[j] : to[j] + part[j];
  }
};

// Outputs of a row from x on, `Outputs` at a time, W vectors of kBlock channels at a time. Returns where it stopped.
template <int Steps, int Outputs, int Block, class Weight>
SNN_HD Size sum_outputs(const Taps& taps, const Events& events, const Weight* weights, const Landing& landing, Size x) {
  constexpr int kVectors = Block / kLanes, kMost = kAccumulators / Steps / Outputs;
  constexpr int W = kVectors < kMost ? kVectors : kMost < 1 ? 1 : kMost < 4 ? kMost : 4;
  for (; x + Outputs <= taps.outputs; x += Outputs)
    for (int v = 0; v < kVectors; v += W) {
      EventSums<Steps, Outputs, W, Weight> sums = {};
      const Weight* own = weights + v * kLanes;
      for (Size ky = 0; ky < taps.kernel_rows; ++ky, own += taps.kernel_cols * taps.tap) {
        if (taps.rows[ky] < 0) continue;
        std::int32_t* ends = events.ends + (taps.rows[ky] - taps.first_row) * taps.width;
        sums.add_taps(own, taps, {events.offsets, events.values, ends}, x);
      }
      sums.land(landing, x, Size{v} * kLanes);
    }
  return x;
}

// Two outputs at a time where registers hold the sums of all channels of both.
template <int Steps, int Block, class Weight>
void sum_row(const Taps& taps, const Events& events, const void* weights, const Landing& landing) {
  const auto own = static_cast<const Weight*>(weights);
  Size x = 0;
  if constexpr (Steps >= 4 && 2 * Steps * (Block / kLanes) <= kAccumulators)
    x = sum_outputs<Steps, 2, Block>(taps, events, own, landing, x);
  sum_outputs<Steps, 1, Block>(taps, events, own, landing, x);
}

using SumRow = void (*)(const Taps&, const Events&, const void*, const Landing&);

template <int Block, class Weight>
SumRow sum_of(int steps) {
  switch (steps) {
    case 1: return sum_row<1, Block, Weight>;
    case 2: return sum_row<2, Block, Weight>;
    case 4: return sum_row<4, Block, Weight>;
    default: return sum_row<8, Block, Weight>;
  }
}

inline SumRow sum_of(const EventSynapse& s, int steps) {
  const bool wide = s.block == 32;
  switch (s.type) {
    case Weights::f32: return wide ? sum_of<32, float>(steps) : sum_of<16, float>(steps);
    case Weights::bf16: return wide ? sum_of<32, StoredBf16>(steps) : sum_of<16, StoredBf16>(steps);
    default: return wide ? sum_of<32, std::int8_t>(steps) : sum_of<16, std::int8_t>(steps);
  }
}

}  // namespace SNN_ISA
}  // namespace snn
