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

// What a position looks at: for each tap that has an input, its events and weights.
struct Taps {
  const std::int32_t *rows, *cols;  // the inputs of the taps, -1 for none
  Size kernel_rows, kernel_cols;
  Size first_row, width;  // of the list
  Size tap;               // elements between the weights of two taps, 0 if they are shared
};

// Adds the events begin .. end to sums [Steps][W].
template <int Steps, int W, class Weight>
struct EventSums {
  static constexpr int kSets = Steps * W >= kChains ? 1 : kChains / (Steps * W);
  Vector at[kSets][Steps][W];

  SNN_HD void one(int set, const Weight* weights, const float* values) {
    Vector w[W];
#pragma GCC unroll 8
    for (int i = 0; i < W; ++i) w[i] = vector_at(weights + i * kLanes);
#pragma GCC unroll 8
    for (int t = 0; t < Steps; ++t) {
      const Vector count = values[t] - Vector{};
#pragma GCC unroll 8
      for (int i = 0; i < W; ++i) at[set][t][i] += count * w[i];
    }
  }

  SNN_HD void add(const Weight* weights, const Events& events, Size begin, Size end) {
    Size e = begin;
    for (; e + kSets <= end; e += kSets) {
#pragma GCC unroll 8
      for (int set = 0; set < kSets; ++set)
        one(set, weights + events.offsets[e + set], events.values + (e + set) * Steps);
    }
    if (kSets > 1)
      for (; e < end; ++e) one(0, weights + events.offsets[e], events.values + e * Steps);
  }

  SNN_HD Vector total(int t, int i) const {
    Vector sum = at[0][t][i];
#pragma GCC unroll 8
    for (int set = 1; set < kSets; ++set) sum += at[set][t][i];
    return sum;
  }
};

// Where the sums of a position go: row t of `to` is `row` elements further. base: [kBlock], what they start from, or
// null: what is there. scales: [kBlock], or null. count: of the channels, those that are there.
struct Landing {
  float* to;
  Size row;
  Size steps;
  const float *base, *scales;
  Size count;
};

template <int Steps, int W, class Weight>
SNN_HD void land(const EventSums<Steps, W, Weight>& sums, const Landing& l, Size channel) {
#pragma GCC unroll 8
  for (int t = 0; t < Steps; ++t) {
    if (t >= l.steps) return;
#pragma GCC unroll 8
    for (int i = 0; i < W; ++i) {
      const Size c = channel + i * kLanes, left = l.count - c;
      if (left <= 0) break;
      float* to = l.to + t * l.row + c;
      Vector sum = sums.total(t, i);
      if (l.scales) sum *= vector_at(l.scales + c);
      if (l.base) sum += vector_at(l.base + c);
      if (left >= kLanes) {
        if (!l.base) sum += vector_at(to);
        *reinterpret_cast<Loose*>(to) = sum;
        continue;
      }
      float part[kLanes];
      std::memcpy(part, &sum, sizeof part);
      for (Size j = 0; j < left; ++j) to[j] = l.base ? part[j] : to[j] + part[j];
    }
  }
}

// All taps of one position: kBlock channels, W vectors at a time.
template <int Steps, int Block, class Weight>
void sum_position(const Taps& taps, const Events& events, const void* weights, const Landing& landing) {
  constexpr int kVectors = Block / kLanes, kMost = kAccumulators / Steps < 1 ? 1 : kAccumulators / Steps;
  constexpr int W = kVectors < kMost ? kVectors : kMost < 4 ? kMost : 4;
  for (int v = 0; v < kVectors; v += W) {
    EventSums<Steps, W, Weight> sums = {};
    const Weight* own = static_cast<const Weight*>(weights) + v * kLanes;
    for (Size ky = 0; ky < taps.kernel_rows; ++ky) {
      const Size y = taps.rows[ky];
      if (y < 0) continue;
      const std::int32_t* ends = events.ends + (y - taps.first_row) * taps.width;
      const Weight* row = own + ky * taps.kernel_cols * taps.tap;
      for (Size kx = 0; kx < taps.kernel_cols; ++kx) {
        const Size x = taps.cols[kx];
        if (x >= 0) sums.add(row + kx * taps.tap, events, ends[x - 1], ends[x]);
      }
    }
    land(sums, landing, Size{v} * kLanes);
  }
}

using SumPosition = void (*)(const Taps&, const Events&, const void*, const Landing&);

template <int Block, class Weight>
SumPosition sum_of(int steps) {
  switch (steps) {
    case 1: return sum_position<1, Block, Weight>;
    case 2: return sum_position<2, Block, Weight>;
    case 4: return sum_position<4, Block, Weight>;
    default: return sum_position<8, Block, Weight>;
  }
}

inline SumPosition sum_of(const EventSynapse& s, int steps) {
  const bool wide = s.block == 32;
  switch (s.type) {
    case Weights::f32: return wide ? sum_of<32, float>(steps) : sum_of<16, float>(steps);
    case Weights::bf16: return wide ? sum_of<32, StoredBf16>(steps) : sum_of<16, StoredBf16>(steps);
    default: return wide ? sum_of<32, std::int8_t>(steps) : sum_of<16, std::int8_t>(steps);
  }
}

}  // namespace SNN_ISA
}  // namespace snn
