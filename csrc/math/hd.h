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

// a where `condition` holds, else b, to the bit. By a mask: where two ?: hang on one comparison g++ 12 makes a branch
// of both, and a loop with a branch is not vectorised (forward with a hard reset was five times slower).
SNN_HD float select(bool condition, float a, float b) {
#if defined(__CUDA_ARCH__)
  return condition ? a : b;
#else
  union {
    float value;
    int bits;
  } yes = {a}, no = {b};
  const int mask = -static_cast<int>(condition);
  yes.bits = (yes.bits & mask) | (no.bits & ~mask);
  return yes.value;
#endif
}

// A choice that is known when a kernel is compiled; where it is not, a bool takes the place.
struct Yes {
  SNN_HD explicit Yes(bool = true) {}
  SNN_HD constexpr operator bool() const { return true; }
};
struct No {
  SNN_HD explicit No(bool = false) {}
  SNN_HD constexpr operator bool() const { return false; }
};

// A factor that is known to be 1; where it is not, a float takes the place.
struct One {
  SNN_HD explicit One(float = 1.f) {}
  SNN_HD constexpr operator float() const { return 1.f; }
};

// A divisor that is used once: a coefficient.
struct Division {
  float value;

  SNN_HD explicit Division(float d) : value(d) {}
  SNN_HD float divide(float a) const {
#if defined(__CUDA_ARCH__)
    return __fdiv_rn(a, value);
#else
    return a / value;
#endif
  }
};

// A divisor that is used many times. The quotient is rounded correctly, as the reference's a / d is (except below
// 2^-100, where nothing is left of it beside a threshold), and costs neither a division nor a branch.
struct Divisor {
  float value, inverse;
  double reciprocal;

  SNN_HD explicit Divisor(float d)
      : value(d), inverse(static_cast<float>(1.0 / static_cast<double>(d))), reciprocal(1.0 / static_cast<double>(d)) {}

  SNN_HD Divisor(float d, float by, double wide) : value(d), inverse(by), reciprocal(wide) {}

  SNN_HD float divide(float a) const {
#if defined(__CUDA_ARCH__) || defined(__FMA__)
    // Two corrections by the exact remainder; the first makes the second exact (P. Markstein, IBM J. Res. Dev. 1990).
    const float guess = a * inverse;
    const float near = __builtin_fmaf(__builtin_fmaf(-guess, value, a), inverse, guess);
    const float quotient = __builtin_fmaf(__builtin_fmaf(-near, value, a), inverse, near);
    return select(guess - guess == 0.f, quotient, guess);  // an infinite guess has no remainder
#else
    // a / d is never nearer than 2^-49 (relative) to a rounding boundary: the 53 bits of a double decide it.
    return static_cast<float>(static_cast<double>(a) * reciprocal);
#endif
  }
};

// a * b + c; Once: a GPU rounds it once, which is one instruction less, and for derivatives only.
template <bool Once = true>
SNN_HD float mul_add(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  if (Once) return __fmaf_rn(a, b, c);
#endif
  return a * b + c;
}

// a / b to a few ulp, for derivatives only. CUDA: subnormal numbers count as 0, or it would take five instructions.
SNN_HD float ratio(float a, float b) {
#if defined(__CUDA_ARCH__)
  float quotient;
  asm("div.approx.ftz.f32 %0, %1, %2;" : "=f"(quotient) : "f"(a), "f"(b));
  return quotient;
#else
  return a / b;
#endif
}

// e^x within 2e-7 relative, in operations that compilers vectorise (libm's is scalar without -ffast-math).
// The polynomial's coefficients are those of Cephes' expf (S. Moshier).
SNN_HD float exp_(float x) {
#if defined(__CUDA_ARCH__)
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x * 1.44269504f));
  return power;
#else
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
#endif
}

SNN_HD float abs_(float x) {
#if defined(__CUDA_ARCH__)
  return fabsf(x);
#else
  return x < 0.f ? -x : x;
#endif
}
SNN_HD float min_(float a, float b) { return a < b ? a : b; }
SNN_HD float max_(float a, float b) { return a > b ? a : b; }

// The nearest whole number, halves to even, of 0 <= x < 2^22: additions that round, and vectorise everywhere.
SNN_HD float round_(float x) { return x + 12582912.f - 12582912.f; }

}  // namespace SNN_ISA
}  // namespace snn
