// Converted networks' neurons, potentials in registers over the steps, counts packed as they fire: IF with a soft reset
// and s = clamp(floor(h / theta), least, most), where least is 0 or takes back what was emitted. Spikes are those of
// math/fire.h but where h is within rounding of a multiple of theta (a product and its remainder in place of the
// quotient).
#pragma once

#include "kernels/detail/event_sums.h"

namespace snn {
inline namespace SNN_ISA {

using Ints = std::int32_t __attribute__((vector_size(SNN_VECTOR)));
using LooseInts = std::int32_t __attribute__((vector_size(SNN_VECTOR), aligned(4), may_alias));

#if defined(__AVX512F__)
// Masked by all ones: g++ 12 warns of what the plain intrinsics leave undefined.
SNN_HD Vector larger(Vector a, Vector b) { return _mm512_maskz_max_ps(0xffff, a, b); }
SNN_HD Vector smaller(Vector a, Vector b) { return _mm512_maskz_min_ps(0xffff, a, b); }
SNN_HD Vector floor_of(Vector a) {
  return _mm512_maskz_roundscale_ps(0xffff, a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
#else
SNN_HD Vector larger(Vector a, Vector b) { return a > b ? a : b; }
SNN_HD Vector smaller(Vector a, Vector b) { return a < b ? a : b; }
SNN_HD Vector floor_of(Vector a) {
  const Vector cut = __builtin_convertvector(__builtin_convertvector(a, Ints), Vector);
  return cut > a ? cut - 1.f : cut;
}
#endif

struct EventFire {
  float theta, inverse, most;
  bool takes_back;

  // Whether this is such a neuron.
  static bool is(const Spec& spec, bool own_numbers) {
    const float* fire = spec.fire_values;
    if (!own_numbers || spec.charge != ChargeId::IF || spec.reset != ResetId::Soft || !(fire[0] > 0.f)) return false;
    if (spec.charge_values[kConstant] != 0.f) return false;
    switch (spec.fire) {
      case FireId::Binary: return fire[2] == 0.f;
      case FireId::Burst: return true;
      case FireId::SignedMemory: return fire[3] == 0.f && fire[4] == 1.f;
      default: return false;
    }
  }

  explicit EventFire(const Spec& spec)
      : theta(spec.fire_values[0]),
        inverse(1.f / theta),
        most(spec.fire == FireId::Binary ? 1.f : spec.fire_values[1]),
        takes_back(spec.fire == FireId::SignedMemory) {}

  // One step of some neurons: their counts.
  SNN_HD Vector step(Vector x, Vector& v, Vector& m) const {
    v += x;
    const Vector least = takes_back ? larger(-m, -most - Vector{}) : Vector{};
    Vector quotient = v * inverse;
    quotient += (v - quotient * theta) * inverse;  // by a fused multiply-add: v = k * theta gives k
    const Vector bounded = floor_of(larger(smaller(quotient, most - Vector{}), least));  // of whole numbers
    const Vector s = v == v ? bounded : Vector{};                                        // no spikes of NaN
    if (takes_back) m += s;
    v -= s * theta;
    return s;
  }

  // n neurons, T steps: x with `stride` between steps (0: the same); v, m: states; word k of four steps to words + k *
  // apart.
  void run(const float* x, Size stride, Size T, float* v, float* m, std::int32_t* words, Size apart, Size n) const {
    takes_back ? rows<true>(x, stride, T, v, m, words, apart, n) : rows<false>(x, stride, T, v, m, words, apart, n);
  }

 private:
  template <bool Takes>
  __attribute__((noinline)) void rows(const float* x, Size stride, Size T, float* v, float* m, std::int32_t* words,
                                      Size apart, Size n) const {
    EventFire own = *this;
    own.takes_back = Takes;
    Size j = 0;
    for (; j + kLanes <= n; j += kLanes) own.lanes(x + j, stride, T, v + j, m + j, words + j, apart);
    if (j == n) return;
    // The last few, through memory of whole vectors, step by step.
    const Size left = n - j;
    float state[2][kLanes] = {}, current[4 * kLanes] = {};
    std::int32_t word[kLanes];
    std::memcpy(state[0], v + j, 4 * left);
    if (Takes) std::memcpy(state[1], m + j, 4 * left);
    for (Size t = 0; t < T; t += 4) {
      const Size steps = T - t < 4 ? T - t : 4;
      for (Size i = 0; i < steps; ++i) std::memcpy(current + i * kLanes, x + j + (t + i) * stride, 4 * left);
      own.lanes(current, kLanes, steps, state[0], state[1], word, 0);
      std::memcpy(words + j + t / 4 * apart, word, 4 * left);
    }
    std::memcpy(v + j, state[0], 4 * left);
    if (Takes) std::memcpy(m + j, state[1], 4 * left);
  }

  SNN_HD void lanes(const float* x, Size stride, Size T, float* v, float* m, std::int32_t* words, Size apart) const {
    Vector potential = vector_at(v), memory = takes_back ? vector_at(m) : Vector{};
    for (Size t = 0; t < T; t += 4, words += apart) {
      Ints word = {};
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        if (t + i >= T) break;
        const Vector s = step(vector_at(x + (t + i) * stride), potential, memory);
        word |= (__builtin_convertvector(s, Ints) & 255) << (8 * i);
      }
      *reinterpret_cast<LooseInts*>(words) = word;
    }
    *reinterpret_cast<Loose*>(v) = potential;
    if (takes_back) *reinterpret_cast<Loose*>(m) = memory;
  }
};

}  // namespace SNN_ISA
}  // namespace snn
