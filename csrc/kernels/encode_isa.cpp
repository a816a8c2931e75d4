// The Poisson encoder of one instruction set: tile by tile, all steps of its elements, four steps a draw.
#include "kernels/detail/isa.h"
#include "kernels/detail/rows.h"
#include "math/philox.h"

namespace snn {
inline namespace SNN_ISA {
namespace {

using Size = std::int64_t;

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX2__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
constexpr Size kDrawn = kBytes / 4;  // elements of two vectors of counters
constexpr Size kTile = 2048;

// A vector of counters. Left to itself g++ multiplies 64 bits by 64, or shuffles: 1.05 ns a spike, this 0.53 (AVX-512).
struct VectorLanes {
  typedef std::uint64_t Word __attribute__((vector_size(kBytes)));

  static SNN_HD Word product(std::uint32_t m, Word a) {
#if defined(__AVX512F__)
    // All lanes of a mask: g++ 12 warns of an uninitialised value in the plain intrinsic.
    return reinterpret_cast<Word>(_mm512_maskz_mul_epu32(0xff, reinterpret_cast<__m512i>(a), _mm512_set1_epi64(m)));
#elif defined(__AVX2__)
    return reinterpret_cast<Word>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), _mm256_set1_epi64x(m)));
#elif defined(__SSE2__)
    return reinterpret_cast<Word>(_mm_mul_epu32(reinterpret_cast<__m128i>(a), _mm_set1_epi64x(m)));
#else
    return (a & 0xffffffffu) * m;
#endif
  }
};

struct Tile {
  alignas(64) std::uint32_t low[kTile], high[kTile];  // the numbers of the elements
  alignas(64) float x[kTile];
  alignas(64) std::uint32_t words[4][kPiece];
  alignas(64) float spikes[kPiece];
};

// The numbers of a tile's elements. Divisions for the first of them only: one for each cost 1.4 ns a spike at T = 4.
void number(const PoissonArgs& args, Tile& tile, Size begin, Size count) {
  const Size channels = args.channels, inner = args.inner;
  std::uint64_t element = args.element(begin);
  Size channel = begin % channels, cell = begin / channels % inner;
  for (Size i = 0; i < count; ++i) {
    tile.low[i] = static_cast<std::uint32_t>(element);
    tile.high[i] = static_cast<std::uint32_t>(element >> 32);
    if (channels == 1) {
      ++element;
    } else if (++channel < channels) {
      element += inner;
    } else {
      channel = 0;
      element += 1 - (channels - 1) * inner;
      if (++cell < inner) continue;
      cell = 0;
      element += (channels - 1) * inner;
    }
  }
}

// The four words of up to kPiece elements: of even ones and of odd ones, each in the low half of a lane.
__attribute__((noinline)) void draw(Tile& tile, Size first, Size m, std::uint32_t block, std::uint64_t key) {
  using Word = VectorLanes::Word;
  for (Size i = 0; i < m; i += kDrawn) {
    Word low, high;
    std::memcpy(&low, tile.low + first + i, kBytes);
    std::memcpy(&high, tile.high + first + i, kBytes);
    Word even[4] = {low, high, Word{} + block, Word{}}, odd[4] = {low >> 32, high >> 32, Word{} + block, Word{}};
    philox<VectorLanes>(even, key);
    philox<VectorLanes>(odd, key);
    for (int k = 0; k < 4; ++k) {
      const Word both = (even[k] & 0xffffffffu) | (odd[k] << 32);
      std::memcpy(tile.words[k] + i, &both, kBytes);
    }
  }
}

__attribute__((noinline)) void compare(const std::uint32_t* __restrict__ bits, const float* __restrict__ x, Size m,
                                       float* __restrict__ s) {
  for (Size i = 0; i < m; ++i) s[i] = bernoulli(bits[i], x[i]);
}

void encode_tile(const PoissonArgs& args, Tile& tile, Size begin, Size count, const Row& x, const Row& s) {
  number(args, tile, begin, count);
  const float* in = x.read(begin, count, tile.x);
  for (Size t = 0; t < args.T; t += 4) {
    for (Size i = 0; i < count; i += kPiece) {
      const Size m = count - i < kPiece ? count - i : kPiece;
      draw(tile, i, m, static_cast<std::uint32_t>(t / 4), args.seed);
      for (Size k = 0; k < 4 && t + k < args.T; ++k) {
        const Size here = (t + k) * args.n + begin + i;
        float* spikes = s.target(here, tile.spikes);
        compare(tile.words[k], in + i, m, spikes);
        s.write(here, m, spikes);
      }
    }
  }
}

}  // namespace

void poisson(const PoissonArgs& args, int threads, bool streamed) {
  const Row x = {const_cast<void*>(args.x), args.dtype, false}, s = {args.s, args.dtype, streamed};
  const Size share = (args.n + threads - 1) / threads;
#pragma omp parallel for schedule(static, 1) num_threads(threads) if (threads > 1)
  for (int part = 0; part < threads; ++part) {
    Tile tile = {};
    const Size end = (part + 1) * share < args.n ? (part + 1) * share : args.n;
    for (Size begin = part * share; begin < end; begin += kTile)
      encode_tile(args, tile, begin, end - begin < kTile ? end - begin : kTile, x, s);
    if (streamed) stream_end();
  }
}

}  // namespace SNN_ISA
}  // namespace snn
