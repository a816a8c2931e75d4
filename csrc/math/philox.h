// Philox 4x32-10: random numbers as a function of a counter and a key, so that any of them can be computed by itself.
// Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11.
#pragma once

#include <cstdint>

#include "math/hd.h"

namespace snn {
inline namespace SNN_ISA {

// A word of a counter stands in the low half of a Word, the high half may hold anything: the product of two such words
// is one multiplication there. Lanes: one counter, or a vector of them.
struct OneLane {
  using Word = std::uint64_t;
  static SNN_HD Word product(std::uint32_t m, Word a) { return std::uint64_t{m} * static_cast<std::uint32_t>(a); }
};

// c: the counter, then four random words.
template <class Lanes>
SNN_HD void philox(typename Lanes::Word (&c)[4], std::uint64_t key) {
  std::uint32_t low = static_cast<std::uint32_t>(key), high = static_cast<std::uint32_t>(key >> 32);
#if defined(__CUDA_ARCH__)
#pragma unroll
#elif !defined(__CUDACC__)
#pragma GCC unroll 10
#endif
  for (int round = 0; round < 10; ++round) {
    const typename Lanes::Word p = Lanes::product(0xD2511F53u, c[0]), q = Lanes::product(0xCD9E8D57u, c[2]);
    c[0] = (q >> 32) ^ c[1] ^ low;
    c[1] = q;
    c[2] = (p >> 32) ^ c[3] ^ high;
    c[3] = p;
    low += 0x9E3779B9u;
    high += 0xBB67AE85u;
  }
}

// 1 with probability x: the upper 24 bits are a number in [0, 1) that float32 holds.
SNN_HD float bernoulli(std::uint32_t bits, float x) {
  return static_cast<float>(static_cast<std::int32_t>(bits >> 8)) * 0x1p-24f < x ? 1.f : 0.f;
}

}  // namespace SNN_ISA
}  // namespace snn
