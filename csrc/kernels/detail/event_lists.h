// Lists of events: of each position the channels that have a spike in a block of steps, and their counts as floats.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "kernels/detail/stages.h"

namespace snn {
inline namespace SNN_ISA {

// offsets: of a channel's weights, and, as if each position of a row were a tap, of the position's; values: [Steps] of
// each event. Events of position p are ends[p - 1] .. ends[p], ends[-1] is 0.
struct Events {
  std::uint32_t* offsets;
  float* values;
  std::int32_t* ends;
};

// A block of steps of one word, or of two: the first and how many.
struct Block {
  Size first;
  int steps;
};

// From t on: at most `most` steps, no more than are left up to a power of two.
inline Block block_at(Size t, Size T, int most) {
  int steps = most;
  while (steps / 2 >= T - t) steps /= 2;
  return {t, steps};
}

// The count of one step of a word.
SNN_HD std::int32_t count_of(std::int32_t word, int step) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(word) << (24 - 8 * step)) >> 24;
}

// A word's steps of a block that begins at bit `shift`, lowest first, others 0.
template <int Steps>
std::int32_t cut(std::int32_t word, int shift) {
  if (Steps >= 4) return word;
  const std::uint32_t bits = static_cast<std::uint32_t>(word) >> shift;
  return static_cast<std::int32_t>(bits & ((1u << (8 * (Steps & 3))) - 1));
}

// Channels 0 .. count of one position, whose words are `low` and, of eight steps, `high`: their numbers and words go to
// `channels` and `words` (one or two each) where a word is not 0. Room: count + 16. Returns how many.
template <int Steps>
Size compact(const std::int32_t* low, const std::int32_t* high, Size count, int shift, std::uint32_t* channels,
             std::int32_t* words) {
  [[maybe_unused]] constexpr int kWords = Steps == 8 ? 2 : 1;
  Size n = 0, c = 0;
#if defined(__AVX512F__)
  const __m512i ramp = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
  const __m512i kept = _mm512_set1_epi32(cut<Steps>(-1, 0));
  for (; c < count; c += 16) {
    const __mmask16 there = count - c >= 16 ? 0xffff : static_cast<__mmask16>((1u << (count - c)) - 1);
    __m512i a = _mm512_maskz_loadu_epi32(there, low + c), b = a;
    if (Steps < 4) a = _mm512_and_si512(_mm512_maskz_srl_epi32(0xffff, a, _mm_cvtsi32_si128(shift)), kept);
    if (Steps == 8) b = _mm512_maskz_loadu_epi32(there, high + c);
    const __m512i any = Steps == 8 ? _mm512_or_si512(a, b) : a;
    const __mmask16 spiked = _mm512_test_epi32_mask(any, any);
    const __m512i number = _mm512_add_epi32(ramp, _mm512_set1_epi32(static_cast<int>(c)));
    // Through registers: some processors are slow to compress into memory.
    _mm512_storeu_si512(channels + n, _mm512_maskz_compress_epi32(spiked, number));
    a = _mm512_maskz_compress_epi32(spiked, a);
    if (Steps == 8) {
      b = _mm512_maskz_compress_epi32(spiked, b);
      _mm512_storeu_si512(words + 2 * n, _mm512_permutex2var_epi32(a, first, b));
      _mm512_storeu_si512(words + 2 * n + 16, _mm512_permutex2var_epi32(a, second, b));
    } else {
      _mm512_storeu_si512(words + n, a);
    }
    n += __builtin_popcount(spiked);
  }
#else
  for (; c < count; ++c) {
    const std::int32_t a = cut<Steps>(low[c], shift), b = Steps == 8 ? high[c] : 0;
    channels[n] = static_cast<std::uint32_t>(c);
    words[kWords * n] = a;
    if (Steps == 8) words[2 * n + 1] = b;
    n += (a | b) != 0;
  }
#endif
  return n;
}

// Counts as floats: Steps bytes of each of n events.
template <int Steps>
void widen(const std::int32_t* words, Size n, float* values) {
  if constexpr (Steps >= 4) {
    const auto bytes = reinterpret_cast<const signed char*>(words);
    for (Size i = 0; i < n * Steps; ++i) values[i] = static_cast<float>(bytes[i]);
  } else {
    for (Size i = 0; i < n; ++i)
      for (int t = 0; t < Steps; ++t) values[i * Steps + t] = static_cast<float>(count_of(words[i], t));
  }
}

constexpr Size kSpare = 32;  // elements that `compact` and `widen` may write behind the last event

// The events of `positions` positions in rows of `width`, `channels` channels each, `row` apart in memory. words, high:
// of the first one, and of the next four steps; scratch: 3 * (channels + kSpare). by: weights of a channel and tap.
template <int Steps>
void list_events(const std::int32_t* words, const std::int32_t* high, Size row, Size positions, Size width,
                 Size channels, int shift, Size by, std::int32_t* scratch, const Events& events) {
  const auto found = reinterpret_cast<std::uint32_t*>(scratch);
  std::int32_t* const kept = scratch + channels + kSpare;
  Size n = 0, x = 0;
  for (Size p = 0; p < positions; ++p, x = x + 1 == width ? 0 : x + 1) {
    const Size more = compact<Steps>(words + p * row, high + p * row, channels, shift, found, kept);
    const auto before = static_cast<std::uint32_t>(x * channels), step = static_cast<std::uint32_t>(by);
    for (Size i = 0; i < more; ++i) events.offsets[n + i] = (before + found[i]) * step;
    widen<Steps>(kept, more, events.values + n * Steps);
    n += more;
    events.ends[p] = static_cast<std::int32_t>(n);
  }
}

}  // namespace SNN_ISA
}  // namespace snn
