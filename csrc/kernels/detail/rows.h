// Rows of a tile between storage types and float32, and stores that go around the cache.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/multistep.h"
#include "math/hd.h"

namespace snn {
inline namespace SNN_ISA {

using Half = std::uint16_t;

inline std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

inline float float_of(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

inline float from_bf16(Half x) { return float_of(static_cast<std::uint32_t>(x) << 16); }

inline Half to_bf16(float x) {
  const std::uint32_t bits = bits_of(x);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;  // to nearest, ties to even
  return static_cast<Half>(x != x ? 0x7fc0u : rounded);
}

// float16 by integer arithmetic; the F16C instructions take the bulk of a row where there are any.
inline float from_f16(Half x) {
  const std::uint32_t sign = static_cast<std::uint32_t>(x & 0x8000u) << 16;
  const std::uint32_t magnitude = x & 0x7fffu;
  const float scaled = float_of(magnitude << 13) * float_of(0x77800000u);  // times 2^112: exponent 15 -> 127
  const std::uint32_t bits = magnitude >= 0x7c00u ? (magnitude << 13) | 0x7f800000u : bits_of(scaled);
  return float_of(sign | bits);
}

inline Half to_f16(float x) {
  const std::uint32_t sign = (bits_of(x) >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits_of(x) & 0x7fffffffu;
  const std::uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const std::uint32_t tiny = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u;  // adding 0.5 rounds at 2^-24
  std::uint32_t bits = magnitude < 0x38800000u ? tiny : normal;
  bits = magnitude >= 0x477ff000u ? 0x7c00u : bits;
  bits = magnitude > 0x7f800000u ? 0x7e00u : bits;
  return static_cast<Half>(sign | bits);
}

// bfloat16 as it is stored. cut: x needs no rounding.
struct Bf16 {
  Half bits;
};
inline float widened(float x) { return x; }
inline float widened(Bf16 x) { return from_bf16(x.bits); }
inline void cut(float& to, float x) { to = x; }
inline void cut(Bf16& to, float x) { to.bits = static_cast<Half>(bits_of(x) >> 16); }
inline void narrow(float& to, float x) { to = x; }
inline void narrow(Bf16& to, float x) { to.bits = to_bf16(x); }

inline void load_f16(float* to, const Half* from, std::int64_t m) {
  std::int64_t j = 0;
#if defined(__F16C__)
  for (; j + 8 <= m; j += 8)
    _mm256_storeu_ps(to + j, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + j))));
#endif
  for (; j < m; ++j) to[j] = from_f16(from[j]);
}

inline void store_f16(Half* to, const float* from, std::int64_t m) {
  std::int64_t j = 0;
#if defined(__F16C__)
  for (; j + 8 <= m; j += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + j), _mm256_cvtps_ph(_mm256_loadu_ps(from + j), 0));
#endif
  for (; j < m; ++j) to[j] = to_f16(from[j]);
}

inline void load_bf16(float* __restrict__ to, const Half* __restrict__ from, std::int64_t m) {
  for (std::int64_t j = 0; j < m; ++j) to[j] = from_bf16(from[j]);
}

inline void store_bf16(Half* __restrict__ to, const float* __restrict__ from, std::int64_t m) {
  for (std::int64_t j = 0; j < m; ++j) to[j] = to_bf16(from[j]);
}

inline void copy(float* __restrict__ to, const float* __restrict__ from, std::int64_t n) {
  constexpr std::int64_t kBlock = 16;  // a known length needs no call
  std::int64_t j = 0;
  for (; j + kBlock <= n; j += kBlock)
    for (std::int64_t q = 0; q < kBlock; ++q) to[j + q] = from[j + q];
  for (; j < n; ++j) to[j] = from[j];
}

// Stores that do not read the line first and leave the cache alone: for outputs that do not fit there.
inline void stream(void* to, const void* from, std::int64_t bytes) {
  char* d = static_cast<char*>(to);
  const char* s = static_cast<const char*>(from);
#if defined(__SSE2__)
  const std::int64_t head = (16 - (reinterpret_cast<std::uintptr_t>(d) & 15)) & 15;
  if (bytes < 64) return static_cast<void>(std::memcpy(d, s, bytes));
  std::memcpy(d, s, head);
  std::int64_t i = head;
  for (; i + 16 <= bytes && ((reinterpret_cast<std::uintptr_t>(d) + i) & 63); i += 16)
    _mm_stream_si128(reinterpret_cast<__m128i*>(d + i), _mm_loadu_si128(reinterpret_cast<const __m128i*>(s + i)));
#if defined(__AVX512F__)
  for (; i + 64 <= bytes; i += 64) _mm512_stream_si512(reinterpret_cast<__m512i*>(d + i), _mm512_loadu_si512(s + i));
#elif defined(__AVX__)
  for (; i + 32 <= bytes; i += 32)
    _mm256_stream_si256(reinterpret_cast<__m256i*>(d + i), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(s + i)));
#endif
  for (; i + 16 <= bytes; i += 16)
    _mm_stream_si128(reinterpret_cast<__m128i*>(d + i), _mm_loadu_si128(reinterpret_cast<const __m128i*>(s + i)));
  std::memcpy(d + i, s + i, bytes - i);
#else
  std::memcpy(d, s, bytes);
#endif
}

// The same for kLines elements, both aligned to cache lines.
constexpr std::int64_t kLines = 64;

template <class S>
void stream_lines(S* to, const S* from) {
  constexpr int kFloats = kLines * sizeof(S) / sizeof(float);
  [[maybe_unused]] const auto out = reinterpret_cast<float*>(to);
  [[maybe_unused]] const auto in = reinterpret_cast<const float*>(from);
#if defined(__AVX512F__)
  for (int i = 0; i < kFloats; i += 16) _mm512_stream_ps(out + i, _mm512_load_ps(in + i));
#elif defined(__AVX__)
  for (int i = 0; i < kFloats; i += 8) _mm256_stream_ps(out + i, _mm256_load_ps(in + i));
#elif defined(__SSE2__)
  for (int i = 0; i < kFloats; i += 4) _mm_stream_ps(out + i, _mm_load_ps(in + i));
#else
  std::memcpy(to, from, sizeof(float) * kFloats);
#endif
}

// Streamed stores become visible to other threads in order only after this.
inline void stream_end() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// What is left of float32 values that are stored as `dtype`.
inline void round_row(float* row, Dtype dtype, std::int64_t m) {
  if (dtype == Dtype::f16)
    for (std::int64_t j = 0; j < m; ++j) row[j] = from_f16(to_f16(row[j]));
  if (dtype == Dtype::bf16)
    for (std::int64_t j = 0; j < m; ++j) row[j] = from_bf16(to_bf16(row[j]));
}

constexpr std::int64_t kPiece = 256;  // of a row: what is converted or streamed at a time

// Part of a row of [T, n] in memory, seen as float32: in place where it is, through `buffer` otherwise.
struct Row {
  void* base;
  Dtype dtype;
  bool streamed;

  char* at(std::int64_t offset) const { return static_cast<char*>(base) + offset * bytes_of(dtype); }

  float* f32(std::int64_t offset) const { return reinterpret_cast<float*>(at(offset)); }
  Bf16* bf16(std::int64_t offset) const { return reinterpret_cast<Bf16*>(at(offset)); }

  // Whether a part can be stored kLines by kLines, streamed if the row is.
  bool whole_lines(std::int64_t offset, std::int64_t m) const {
    return m % kLines == 0 && (!streamed || reinterpret_cast<std::uintptr_t>(at(offset)) % 64 == 0);
  }

  const float* read(std::int64_t offset, std::int64_t m, float* buffer) const {
    if (dtype == Dtype::f32) return f32(offset);
    const Half* from = reinterpret_cast<const Half*>(at(offset));
    dtype == Dtype::f16 ? load_f16(buffer, from, m) : load_bf16(buffer, from, m);
    return buffer;
  }

  float* target(std::int64_t offset, float* buffer) const {
    return dtype == Dtype::f32 && !streamed ? f32(offset) : buffer;
  }

  void write(std::int64_t offset, std::int64_t m, const float* row) const {
    alignas(64) Half packed[kPiece];
    if (dtype == Dtype::f32) {
      if (streamed) stream(at(offset), row, 4 * m);
      return;
    }
    Half* to = streamed ? packed : reinterpret_cast<Half*>(at(offset));
    dtype == Dtype::f16 ? store_f16(to, row, m) : store_bf16(to, row, m);
    if (streamed) stream(at(offset), packed, 2 * m);
  }
};

inline Row row_of(const void* base, const MultistepArgs& args, bool streamed) {
  return {const_cast<void*>(base), args.dtype, streamed};
}

}  // namespace SNN_ISA
}  // namespace snn
