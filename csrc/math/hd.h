// What every formula needs on both sides: the function attribute, exact division, a vectorisable exp.
//
// The CPU kernels are compiled once for each instruction set, so everything lives in a namespace of its own per
// instruction set: inline functions of equal name would be merged by the linker, and the AVX-512 one could win.
#pragma once

#if defined(__CUDACC__)
#define SNN_HD __host__ __device__ __forceinline__
#else
#define SNN_HD inline __attribute__((always_inline))
#endif

#ifndef SNN_ISA
#define SNN_ISA common
#endif

namespace snn {
inline namespace SNN_ISA {

// A divisor that is used many times. The quotient is rounded correctly, as the reference's a / d is.
struct Divisor {
  float value;
  double reciprocal;  // a / d has 49 bits at most between it and a rounding boundary: 53 decide it, without a division

  SNN_HD explicit Divisor(float d) : value(d), reciprocal(1.0 / static_cast<double>(d)) {}

  SNN_HD float divide(float a) const {
#if defined(__CUDA_ARCH__)
    return a / value;  // doubles are slow on GPUs
#else
    return static_cast<float>(static_cast<double>(a) * reciprocal);
#endif
  }
};

// e^x within 2e-7 relative, in operations that compilers vectorise (libm's is scalar without -ffast-math).
// The polynomial's coefficients are those of Cephes' expf (S. Moshier).
SNN_HD float exp_(float x) {
  x = x > 88.f ? 88.f : x;
  x = x < -87.f ? -87.f : x;
  const float scaled = x * 1.44269504f + 12582912.f;  // 1.5 * 2^23: rounds to an integer in the low mantissa bits
  const float n = scaled - 12582912.f;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.f;
  union {
    int bits;
    float value;
  } power = {(static_cast<int>(n) + 127) << 23};
  return y * power.value;
}

SNN_HD float abs_(float x) { return x < 0.f ? -x : x; }

}  // namespace SNN_ISA
}  // namespace snn
