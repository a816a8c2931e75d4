// Common neurons on CUDA: charge, fire and reset are types, all numbers the neuron's own, every access one of 16 bytes.
// A GPU issues some 4 to 9 instructions for each byte that it can move: the switches of the other kernels cost more.
#pragma once

#include "kernels/detail/launch.cuh"

namespace snn::gpu {

constexpr int kGroup = 4;  // rows that are asked for ahead, and steps that are unrolled

template <class T>
__device__ __forceinline__ T* moved(T* from, std::int64_t bytes) {
  using Byte = std::conditional_t<std::is_const_v<T>, const char, char>;
  return reinterpret_cast<T*>(reinterpret_cast<Byte*>(from) + bytes);
}

// row = *from if k < count, through the read-only path. Predicated by hand: as a branch it costs copies of what waits.
__device__ __forceinline__ void fetch_if(int k, int count, std::size_t from, float4& row) {
  asm("{ .reg .pred p; setp.gt.s32 p, %5, %6; @p ld.global.nc.v4.f32 {%0, %1, %2, %3}, [%4]; }"
      : "+f"(row.x), "+f"(row.y), "+f"(row.z), "+f"(row.w)
      : "l"(from), "r"(count), "r"(k));
}
__device__ __forceinline__ void fetch_if(int k, int count, std::size_t from, uint4& row) {
  asm("{ .reg .pred p; setp.gt.s32 p, %5, %6; @p ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4]; }"
      : "+r"(row.x), "+r"(row.y), "+r"(row.z), "+r"(row.w)
      : "l"(from), "r"(count), "r"(k));
}

// body(row) for `count` rows, `bytes` apart (if `same`: for one row, again and again), each asked for kGroup rows
// before its turn. By groups, so that what waits stays in its registers; those of an incomplete one are moved along.
// between(left): after a group, before `left` more rows.
template <int V, int kSign, class E, class Body, class Between>
__device__ __forceinline__ void each_row(const E* from, std::int64_t bytes, bool same, int count, const Body& body,
                                         const Between& between) {
  using Row = Whole<E, V>;
  const auto use = [&](const Row& row) { body(reinterpret_cast<const Vector<E, V>&>(row)); };
  std::size_t at = __cvta_generic_to_global(from);
  const auto fetch = [&](int k, int count, Row& row) {
    fetch_if(k, count, at, row);
    at += kSign * bytes;
  };
  int wanted = same ? 1 : count;
  Row ahead[kGroup] = {};
#pragma unroll
  for (int k = 0; k < kGroup; ++k) fetch(k, wanted, ahead[k]);
  if (same) ahead[1] = ahead[2] = ahead[3] = ahead[0];
#pragma unroll 1
  for (; count >= kGroup; count -= kGroup, wanted -= kGroup) {
#pragma unroll
    for (int k = 0; k < kGroup; ++k) {
      use(ahead[k]);
      fetch(kGroup + k, wanted, ahead[k]);
    }
    between(count - kGroup);
  }
#pragma unroll 1
  for (; count > 0; --count) {
    use(ahead[0]);
#pragma unroll
    for (int k = 0; k + 1 < kGroup; ++k) ahead[k] = ahead[k + 1];
  }
}

// f(bfloat) with what kind of Half it is as a constant: chosen once, before the steps.
template <class E, class F>
__device__ __forceinline__ void with_format(Dtype dtype, const F& f) {
  if (std::is_same_v<E, Half> && dtype == Dtype::bf16)
    f(std::true_type());
  else
    f(std::false_type());
}

// The neuron with its charge in the fewest instructions: division by a power of two is multiplication, as PLIF has it.
inline Spec reduced(Spec spec) {
  if (spec.charge != ChargeId::LIF) return spec;
  int exponent;
  float& tau = spec.charge_values[0];
  if (std::frexp(tau, &exponent) != 0.5f || exponent > 100 || exponent < -100) return spec;
  spec.charge = ChargeId::PLIF;
  tau = 1.f / tau;
  return spec;
}

// Whether the call has nothing that only the other kernels know.
inline bool is_plain(const MultistepArgs& args) {
  constexpr std::int64_t kMost = 1 << 30;
  return !args.coefficients.values && args.T <= kMost && args.interval <= kMost && args.interval % kGroup == 0;
}

// f(charge, fire, reset) with the types of a neuron that is a common one. Takes: f also knows the fire of converted
// networks, on their charge and reset. Returns whether it is.
template <bool Takes, class F>
bool visit_quick(const Spec& given, F&& f) {
  const Spec spec = reduced(given);
  const bool taking = Takes && Below(spec).mirrored() && spec.charge == ChargeId::IF && spec.reset == ResetId::Soft;
  const bool binary = spec.fire == FireId::Binary && std::isfinite(spec.fire_values[0]);
  if (spec.filters() || !(taking || (binary && (spec.reset == ResetId::Hard || spec.reset == ResetId::Soft))))
    return false;
  const Subtracting<One> soft(1.f, spec.reset_values[0] != 0.f, spec.reset_values[1] != 0.f);
  if constexpr (Takes) {
    if (taking) {
      const Below b(spec);
      f(If(spec.charge_values), Taking(spec.fire_values, b.first, b.spacing, false, true, true), soft);
      return true;
    }
  }
  visit_charge(spec, [&](const auto& charge) {
    if constexpr (!std::decay_t<decltype(charge)>::filters) {
      const Reaching fire(spec.fire_values);
      spec.reset == ResetId::Hard ? f(charge, fire, Hard(spec.reset_values)) : f(charge, fire, soft);
    }
  });
  return true;
}

}  // namespace snn::gpu
