// Packed spikes of one instruction set. Bits: x is compared with a spike and with zero as whole numbers, 32 values at a
// time. Counts: a product by 1 / scale rounded to the nearest, and x must be what that count is worth, to the bit.
#include "kernels/detail/isa.h"
#include "kernels/detail/rows.h"

namespace snn {
inline namespace SNN_ISA {
namespace {

using Size = std::int64_t;
using Word = std::uint32_t;
using Byte = std::uint8_t;

constexpr Size kGroup = 32;     // values whose comparisons make one word
constexpr Size kBlock = 16384;  // values between two looks at whether another thread has found something else

// Bit j: x[j] == value.
inline Word equal(const Word* x, Word value) {
  Word mask = 0;
#if defined(__AVX512BW__)
  // Not by a shift and an or: where g++ 12 spills a mask of 16 bits, it reads 32 back.
  const __m512i all = _mm512_set1_epi32(static_cast<int>(value));
  mask = _mm512_kunpackw(_mm512_cmpeq_epi32_mask(_mm512_loadu_si512(x + 16), all),
                         _mm512_cmpeq_epi32_mask(_mm512_loadu_si512(x), all));
#elif defined(__AVX2__)
  const __m256i all = _mm256_set1_epi32(static_cast<int>(value));
  for (int j = 0; j < 4; ++j) {
    const __m256i same = _mm256_cmpeq_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 8 * j)), all);
    mask |= static_cast<Word>(_mm256_movemask_ps(_mm256_castsi256_ps(same))) << (8 * j);
  }
#elif defined(__SSE2__)
  const __m128i all = _mm_set1_epi32(static_cast<int>(value));
  for (int j = 0; j < 8; ++j) {
    const __m128i same = _mm_cmpeq_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + 4 * j)), all);
    mask |= static_cast<Word>(_mm_movemask_ps(_mm_castsi128_ps(same))) << (4 * j);
  }
#else
  for (int j = 0; j < kGroup; ++j) mask |= Word{x[j] == value} << j;
#endif
  return mask;
}

inline Word equal(const Half* x, Half value) {
  Word mask = 0;
#if defined(__AVX512BW__)
  mask = _mm512_cmpeq_epi16_mask(_mm512_loadu_si512(x), _mm512_set1_epi16(static_cast<short>(value)));
#elif defined(__AVX2__)
  const __m256i all = _mm256_set1_epi16(static_cast<short>(value));
  const __m256i a = _mm256_cmpeq_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)), all);
  const __m256i b = _mm256_cmpeq_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 16)), all);
  const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(a, b), 0xd8);
  mask = static_cast<Word>(_mm256_movemask_epi8(bytes));
#elif defined(__SSE2__)
  const __m128i all = _mm_set1_epi16(static_cast<short>(value));
  for (int j = 0; j < 2; ++j) {
    const __m128i a = _mm_cmpeq_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + 16 * j)), all);
    const __m128i b = _mm_cmpeq_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + 16 * j + 8)), all);
    mask |= static_cast<Word>(_mm_movemask_epi8(_mm_packs_epi16(a, b))) << (16 * j);
  }
#else
  for (int j = 0; j < kGroup; ++j) mask |= Word{x[j] == value} << j;
#endif
  return mask;
}

// One group; whether it holds zeros and spikes only.
template <class W>
inline bool pack_group(const W* x, W one, Byte* to, Size bytes) {
  const Word spikes = equal(x, one), zeros = equal(x, W{0});
  for (Size b = 0; b < bytes; ++b) to[b] = static_cast<Byte>(spikes >> (8 * b));
  return (spikes | zeros) == ~Word{0};
}

template <class W>
bool pack_bits(const PackArgs& args, Size lo, Size hi) {
  const W* x = static_cast<const W*>(args.x);
  const W one = static_cast<W>(args.one);
  Byte* to = static_cast<Byte*>(args.packed) + lo / 8;
  bool valid = true;
  Size i = lo;
  for (; i + kGroup <= hi; i += kGroup, to += kGroup / 8) valid &= pack_group(x + i, one, to, kGroup / 8);
  if (i == hi) return valid;
  W rest[kGroup] = {};
  std::memcpy(rest, x + i, sizeof(W) * (hi - i));
  return pack_group(rest, one, to, (hi - i + 7) / 8) && valid;
}

template <class W>
void unpack_bits(const PackArgs& args, Size lo, Size hi) {
  constexpr Size kBits = 8 * sizeof(W);
  W* __restrict__ to = static_cast<W*>(args.x);
  const W one = static_cast<W>(args.one);
  const Byte* from = static_cast<const Byte*>(args.packed);
  // Places as numbers in memory and an equality, not a shift by j: plain x86 has no vector shift that varies. The loop
  // over halves is five times slower unrolled (g++ 12 leaves it scalar then).
  alignas(64) W places[kBits];
  for (Size j = 0; j < kBits; ++j) places[j] = static_cast<W>(W{1} << j);
  Size i = lo;
  for (; i + kBits <= hi; i += kBits) {
    W mask;
    std::memcpy(&mask, from + i / 8, sizeof mask);
#pragma GCC unroll 1
    for (Size j = 0; j < kBits; ++j) to[i + j] = static_cast<W>(mask & places[j]) == places[j] ? one : W{0};
  }
  for (; i < hi; ++i) to[i] = from[i / 8] >> (i % 8) & 1 ? one : W{0};
}

// Counts of m values of a float32 row, and what they are worth.
template <class C>
void count_row(const float* __restrict__ x, Size m, const PackArgs& args, C* __restrict__ counts,
               float* __restrict__ worth) {
  const float low = args.low, high = args.high, scale = args.scale, inverse = args.inverse;
  for (Size j = 0; j < m; ++j) {
    float count = x[j] * inverse;
    count = count > low ? count : low;  // a NaN, too
    count = count < high ? count : high;
    count = count + 12582912.f - 12582912.f;  // 1.5 * 2^23: to the nearest whole number
    counts[j] = static_cast<C>(static_cast<int>(count));
    worth[j] = count * scale;
  }
}

template <class C>
void worth_row(const C* __restrict__ counts, Size m, float scale, float* __restrict__ worth) {
  for (Size j = 0; j < m; ++j) worth[j] = static_cast<float>(static_cast<int>(counts[j])) * scale;
}

// Numbers as storage holds them.
const void* stored(Dtype dtype, const float* row, Size m, Half* buffer) {
  if (dtype == Dtype::f32) return row;
  dtype == Dtype::f16 ? store_f16(buffer, row, m) : store_bf16(buffer, row, m);
  return buffer;
}

template <class C>
bool pack_counts(const PackArgs& args, Size lo, Size hi) {
  alignas(64) float buffer[kPiece], worth[kPiece];
  alignas(64) Half halves[kPiece];
  const Row x = {args.x, args.dtype, false};
  C* counts = static_cast<C*>(args.packed);
  for (Size i = lo; i < hi; i += kPiece) {
    const Size m = hi - i < kPiece ? hi - i : kPiece;
    count_row(x.read(i, m, buffer), m, args, counts + i, worth);
    if (args.invalid && std::memcmp(stored(args.dtype, worth, m, halves), x.at(i), m * bytes_of(args.dtype)))
      return false;
  }
  return true;
}

template <class C>
void unpack_counts(const PackArgs& args, Size lo, Size hi) {
  alignas(64) float worth[kPiece];
  const Row x = {args.x, args.dtype, false};
  const C* counts = static_cast<const C*>(args.packed);
  for (Size i = lo; i < hi; i += kPiece) {
    const Size m = hi - i < kPiece ? hi - i : kPiece;
    float* to = x.target(i, worth);
    worth_row(counts + i, m, args.scale, to);
    x.write(i, m, to);
  }
}

// run(lo, hi) for blocks of all values; blocks begin at whole bytes.
template <class F>
void for_blocks(Size n, int threads, F&& run) {
  const Size blocks = (n + kBlock - 1) / kBlock;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (Size block = 0; block < blocks; ++block) {
    const Size lo = block * kBlock;
    run(lo, n - lo < kBlock ? n : lo + kBlock);
  }
}

template <bool (*run)(const PackArgs&, Size, Size)>
void pack_all(const PackArgs& args, int threads) {
  for_blocks(args.n, threads, [&](Size lo, Size hi) {
    if (args.invalid && __atomic_load_n(args.invalid, __ATOMIC_RELAXED)) return;
    if (!run(args, lo, hi) && args.invalid) __atomic_store_n(args.invalid, 1, __ATOMIC_RELAXED);
  });
}

template <void (*run)(const PackArgs&, Size, Size)>
void unpack_all(const PackArgs& args, int threads) {
  for_blocks(args.n, threads, [&](Size lo, Size hi) { run(args, lo, hi); });
}

}  // namespace

void pack(const PackArgs& args, int threads) {
  if (args.kind == PackKind::counts) return pack_all<pack_counts<std::uint8_t>>(args, threads);
  if (args.kind == PackKind::signed_counts) return pack_all<pack_counts<std::int8_t>>(args, threads);
  args.dtype == Dtype::f32 ? pack_all<pack_bits<Word>>(args, threads) : pack_all<pack_bits<Half>>(args, threads);
}

void unpack(const PackArgs& args, int threads) {
  if (args.kind == PackKind::counts) return unpack_all<unpack_counts<std::uint8_t>>(args, threads);
  if (args.kind == PackKind::signed_counts) return unpack_all<unpack_counts<std::int8_t>>(args, threads);
  args.dtype == Dtype::f32 ? unpack_all<unpack_bits<Word>>(args, threads)
                           : unpack_all<unpack_bits<Half>>(args, threads);
}

}  // namespace SNN_ISA
}  // namespace snn
