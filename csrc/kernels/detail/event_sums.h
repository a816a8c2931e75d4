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

// What an output looks at. rows: the inputs of its taps, -1 for none; next: of the output below.
struct Taps {
  const std::int32_t *rows, *next, *cols;
  Size kernel_rows, kernel_cols;
  Size first_row, width;  // of the list
  Size tap, each;         // elements of the weights of a tap, and to those of the next one (0 if they are shared)
};

// Positions of a row whose weights stand one behind the other: begin .. end, the weights at `shift` from those of the
// row of taps, offsets added.
struct Span {
  Size begin, end, shift;
};
constexpr Size kMostSpans = 32;

// The spans of an output's columns: neighbours are one, where taps do not share weights. Returns how many, at most
// kMostSpans from tap `k` on, which becomes the tap behind them.
SNN_HD Size spans_of(const Taps& taps, Size& k, Span* spans) {
  Size count = 0;
  for (; k < taps.kernel_cols && count < kMostSpans; ++k) {
    const Size x = taps.cols[k];
    if (x < 0) continue;
    Size end = x + 1;
    const Size first = k;
    while (taps.each && k + 1 < taps.kernel_cols && taps.cols[k + 1] == end) ++k, ++end;
    spans[count++] = {x, end, first * taps.each - x * taps.tap};
  }
  return count;
}

// Where the sums of an output go: those of step t to to + t * step, of the output below to to + below. base: [kBlock],
// what they start from, or null: what is there. scales: [kBlock], or null. steps, count: of the steps and channels,
// those that are there.
struct Landing {
  float* to;
  Size step, below, steps;
  const float *base, *scales;
  Size count;
};

// Sums of one output, or of it and the one below: what both look at is read once for them.
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
  SNN_HD void add(const Weight* const* rows, const Events& events, Size row, const Span& span) {
    const Size end = events.ends[row + span.end - 1];
    Size e = events.ends[row + span.begin - 1];
    const Weight* weights[Outputs];
    for (int o = First; o < End; ++o) weights[o] = rows[o] + span.shift;
    for (; e + kSets <= end; e += kSets) {
#pragma GCC unroll 8
      for (int set = 0; set < kSets; ++set)
        one<First, End>(set, weights, events.offsets[e + set], events.values + (e + set) * Steps);
    }
#pragma GCC unroll 8
    for (int set = 0; set < kSets - 1; ++set) {  // the last few, each to a chain of its own
      if (e + set >= end) return;
      one<First, End>(set, weights, events.offsets[e + set], events.values + (e + set) * Steps);
    }
  }

  // All rows of taps. Two outputs walk along their rows together: those of both, of the first, of the second.
  SNN_HD void add_rows(const Weight* weights, const Taps& taps, const Events& events, const Span& span) {
    const Size more = taps.kernel_cols * taps.each;
    const Weight* own[Outputs] = {weights};
    if constexpr (Outputs == 1) {
      for (Size k = 0; k < taps.kernel_rows; ++k, own[0] += more)
        if (taps.rows[k] >= 0) add<0, 1>(own, events, (taps.rows[k] - taps.first_row) * taps.width, span);
    } else {
      own[1] = weights;
      const Size count = taps.kernel_rows;
      Size a = 0, b = 0;
      while (a < count || b < count) {
        const bool first = a < count && (b == count || taps.rows[a] <= taps.next[b]);
        const bool second = b < count && (a == count || taps.next[b] <= taps.rows[a]);
        const Size at = first ? taps.rows[a] : taps.next[b], row = (at - taps.first_row) * taps.width;
        if (at >= 0) {
          if (first && second)
            add<0, 2>(own, events, row, span);
          else if (first)
            add<0, 1>(own, events, row, span);
          else
            add<1, 2>(own, events, row, span);
        }
        if (first) ++a, own[0] += more;
        if (second) ++b, own[1] += more;
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
  SNN_HD void land(const Landing& l, Size channel) const {
    const bool whole = l.steps >= Steps && l.count - channel >= W * kLanes;
#pragma GCC unroll 2
    for (int o = 0; o < Outputs; ++o) {
      float* to = l.to + o * l.below + channel;
#pragma GCC unroll 8
      for (int t = 0; t < Steps; ++t, to += l.step)
#pragma GCC unroll 8
        for (int i = 0; i < W; ++i) {
          Vector sum = total(o, t, i);
          if (whole && l.scales) sum *= vector_at(l.scales + channel + i * kLanes);
          if (whole)
            *reinterpret_cast<Loose*>(to + i * kLanes) =
                sum + vector_at(l.base ? l.base + channel + i * kLanes : to + i * kLanes);
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

// One output, or it and the one below, W vectors of kBlock channels at a time.
template <int Steps, int Outputs, int Block, class Weight>
void sum_output(const Taps& taps, const Events& events, const void* weights, const Landing& landing) {
  constexpr int kVectors = Block / kLanes, kMost = kAccumulators / Steps / Outputs;
  constexpr int W = kVectors < kMost ? kVectors : kMost < 1 ? 1 : kMost < 4 ? kMost : 4;
  for (int v = 0; v < kVectors; v += W) {
    EventSums<Steps, Outputs, W, Weight> sums = {};
    for (Size k = 0; k < taps.kernel_cols;) {
      Span spans[kMostSpans];
      const Size count = spans_of(taps, k, spans);
      for (Size i = 0; i < count; ++i)
        sums.add_rows(static_cast<const Weight*>(weights) + v * kLanes, taps, events, spans[i]);
    }
    sums.land(landing, Size{v} * kLanes);
  }
}

using SumOutput = void (*)(const Taps&, const Events&, const void*, const Landing&);

// For one output, and for two where registers hold the sums of all channels of both (null elsewhere).
struct Summing {
  SumOutput one, two;
};

template <int Steps, int Block, class Weight>
Summing summing() {
  constexpr bool kBoth = 2 * Steps * (Block / kLanes) <= kAccumulators;
  if constexpr (kBoth) return {sum_output<Steps, 1, Block, Weight>, sum_output<Steps, 2, Block, Weight>};
  return {sum_output<Steps, 1, Block, Weight>, nullptr};
}

template <int Block, class Weight>
Summing summing(int steps) {
  switch (steps) {
    case 1: return summing<1, Block, Weight>();
    case 2: return summing<2, Block, Weight>();
    case 4: return summing<4, Block, Weight>();
    default: return summing<8, Block, Weight>();
  }
}

inline Summing summing(const EventSynapse& s, int steps) {
  const bool wide = s.block == 32;
  switch (s.type) {
    case Weights::f32: return wide ? summing<32, float>(steps) : summing<16, float>(steps);
    case Weights::bf16: return wide ? summing<32, StoredBf16>(steps) : summing<16, StoredBf16>(steps);
    default: return wide ? summing<32, std::int8_t>(steps) : summing<16, std::int8_t>(steps);
  }
}

}  // namespace SNN_ISA
}  // namespace snn
