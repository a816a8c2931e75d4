// The numbers of a thread's neurons: coefficients in registers, or those of the neuron itself.
#pragma once

#include "kernels/detail/vector.cuh"
#include "kernels/multistep.h"
#include "math/step.h"

namespace snn::gpu {

inline bool aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

// Where they come from. `wide`: V neighbours are V neighbouring channels, one access; `together`: they share one.
struct Table {
  const float* rows[kSlots];  // null: the neuron's own
  float own[kSlots];
  std::int64_t stride, channels, inner;  // stride: from step to step, 0 if they do not vary
  bool wide, together;

  // line: of BackwardArgs.
  Table(const MultistepArgs& args, int width, const float* line = nullptr)
      : stride(args.coefficients.steps > 1 ? args.coefficients.channels : 0),
        channels(args.coefficients.channels),
        inner(args.coefficients.inner),
        wide(inner == 1 && channels % width == 0 && aligned(args.coefficients.values) && aligned(line)),
        together(channels == 1 || inner % width == 0) {
    for (int slot = 0; slot < kSlots; ++slot) {
      const int row = args.spec.rows[slot];
      rows[slot] = row < 0 ? nullptr : args.coefficients.values + row * args.coefficients.steps * channels;
      own[slot] = args.spec.number(slot);
    }
  }
};

template <int V, bool Rows>
class Numbers {
 public:
  // i: the first neuron.
  __device__ __forceinline__ Numbers(const Table& table, std::int64_t i) : table_(table) {
    if constexpr (Rows) {
      const std::int64_t place = i % (table.inner * table.channels);
      channel_ = place / table.inner;
      offset_ = place - channel_ * table.inner;
      read(0);
    }
  }

  // Those of step t, if they vary.
  __device__ __forceinline__ void advance(std::int64_t t) {
    if constexpr (Rows) {
      if (table_.stride) read(t);
    }
  }
  // The two numbers of each neuron's line.
  __device__ __forceinline__ void line(const float* rows, float (&slope)[V], float (&start)[V]) const {
    read(rows, slope);
    read(rows + table_.channels, start);
  }
  __device__ __forceinline__ float theta(const float shared, int j) const {
    if constexpr (Rows) return own_[kTheta][j];
    return shared;
  }
  template <class C>
  __device__ __forceinline__ Charging<C> charging(const Charging<C>& shared, int j) const {
    if constexpr (Rows) return {shared.charge.at(own_[kA][j], own_[kB][j], own_[kC][j]), shared.carry};
    return shared;
  }
  template <class F>
  __device__ __forceinline__ auto fire(const F& shared, int j) const {
    if constexpr (Rows) {
      return shared.at(own_[kTheta][j]);
    } else {
      return shared;
    }
  }
  template <class P>
  __device__ __forceinline__ P surrogate(const P& shared, int j) const {
    if constexpr (Rows && P::learns) {
      float alpha = own_[kAlpha][j];
      asm volatile("" : "+f"(alpha));  // or what follows from alpha is computed before the loop, and takes registers
      return shared.at(alpha);
    }
    return shared;
  }

 private:
  __device__ __forceinline__ void read(std::int64_t t) {
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) read(slot, t, own_[slot]);
  }
  __device__ __forceinline__ void read(int slot, std::int64_t t, float (&to)[V]) const {
    const float* row = table_.rows[slot];
    if (row) return read(row + t * table_.stride, to);
#pragma unroll
    for (int j = 0; j < V; ++j) to[j] = table_.own[slot];
  }
  __device__ __forceinline__ void read(const float* row, float (&to)[V]) const {
    table_.wide ? load_state(row + channel_, 0.f, to) : each(row, to);
  }
  __device__ __forceinline__ void each(const float* row, float (&to)[V]) const {
    std::int64_t channel = channel_, offset = offset_;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      to[j] = j && table_.together ? to[0] : __ldg(row + channel);
      if (++offset < table_.inner) continue;
      offset = 0;
      channel = channel + 1 < table_.channels ? channel + 1 : 0;
    }
  }

  const Table& table_;
  std::int64_t channel_, offset_;
  float own_[kSlots][V];
};

}  // namespace snn::gpu
