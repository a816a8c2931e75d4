// The lateral pool of one instruction set: plane by plane, its counts and window maxima stay in the cache.
#include "kernels/detail/isa.h"
#include "kernels/detail/rows.h"

namespace snn {
inline namespace SNN_ISA {
namespace {

using Size = std::int64_t;

float to_float(const void* base, Dtype dtype, Size i) {
  if (dtype == Dtype::f32) return static_cast<const float*>(base)[i];
  const Half bits = static_cast<const Half*>(base)[i];
  return dtype == Dtype::f16 ? from_f16(bits) : from_bf16(bits);
}

void put(void* base, Dtype dtype, Size i, float value) {
  if (dtype == Dtype::f32)
    static_cast<float*>(base)[i] = value;
  else
    static_cast<Half*>(base)[i] = dtype == Dtype::f16 ? to_f16(value) : to_bf16(value);
}

// Counts are whole numbers in float32: exact up to 2^22 spikes a step and 2^24 in all. Adding 1.5 * 2^23 rounds to the
// nearest, ties to even.
void accumulate(const PoolArgs& args, Size offset, Size cells, float* __restrict__ count) {
  const Divisor scale(args.scale);
  if (args.dtype == Dtype::f32) {
    const float* __restrict__ x = static_cast<const float*>(args.x) + offset;
    for (Size i = 0; i < cells; ++i) count[i] += (scale.divide(x[i]) + 12582912.f) - 12582912.f;
    return;
  }
  for (Size i = 0; i < cells; ++i)
    count[i] += (scale.divide(to_float(args.x, args.dtype, offset + i)) + 12582912.f) - 12582912.f;
}

float window_max(const PoolArgs& args, const float* count, Size oy, Size ox) {
  float most = -__builtin_inff();
  for (Size ky = 0; ky < args.kernel[0]; ++ky) {
    const Size y = oy * args.stride[0] - args.padding[0] + ky * args.dilation[0];
    if (y < 0 || y >= args.height) continue;
    for (Size kx = 0; kx < args.kernel[1]; ++kx) {
      const Size x = ox * args.stride[1] - args.padding[1] + kx * args.dilation[1];
      if (x < 0 || x >= args.width) continue;
      const float c = count[y * args.width + x];
      most = c > most ? c : most;
    }
  }
  return most;
}

// The common 2x2 window with stride 2 and no padding, a loop that vectorises.
void max_2x2(const PoolArgs& args, const float* __restrict__ count, float* __restrict__ top) {
  for (Size y = 0; y < args.out_height; ++y) {
    const float* a = count + 2 * y * args.width;
    const float* b = a + args.width;
    float* row = top + y * args.out_width;
    for (Size x = 0; x < args.out_width; ++x) {
      const float left = a[2 * x] > b[2 * x] ? a[2 * x] : b[2 * x];
      const float right = a[2 * x + 1] > b[2 * x + 1] ? a[2 * x + 1] : b[2 * x + 1];
      row[x] = left > right ? left : right;
    }
  }
}

bool is_2x2(const PoolArgs& a) {
  const bool two = a.kernel[0] == 2 && a.kernel[1] == 2 && a.stride[0] == 2 && a.stride[1] == 2;
  const bool inside = 2 * a.out_height <= a.height && 2 * a.out_width <= a.width;
  return two && inside && !a.padding[0] && !a.padding[1] && a.dilation[0] == 1 && a.dilation[1] == 1;
}

void pool_plane(const PoolArgs& args, Size plane, float* count, float* top, float* before) {
  const Size cells = args.height * args.width, outputs = args.out_height * args.out_width;
  const bool small = is_2x2(args);
  for (Size i = 0; i < cells; ++i) count[i] = 0.f;
  for (Size i = 0; i < outputs; ++i) before[i] = 0.f;
  for (Size t = 0; t < args.T; ++t) {
    accumulate(args, (t * args.planes + plane) * cells, cells, count);
    if (small)
      max_2x2(args, count, top);
    else
      for (Size i = 0; i < outputs; ++i) top[i] = window_max(args, count, i / args.out_width, i % args.out_width);
    const Size offset = (t * args.planes + plane) * outputs;
    for (Size i = 0; i < outputs; ++i) put(args.out, args.dtype, offset + i, (top[i] - before[i]) * args.scale);
    float* swap = top;
    top = before;
    before = swap;
  }
}

}  // namespace

void lateral_pool(const PoolArgs& args, int threads) {
  const Size cells = args.height * args.width, outputs = args.out_height * args.out_width;
  const Size share = (args.planes + threads - 1) / threads;
  float* scratch = new float[threads * (cells + 2 * outputs)];
#pragma omp parallel for schedule(static, 1) num_threads(threads) if (threads > 1)
  for (int part = 0; part < threads; ++part) {
    float* count = scratch + part * (cells + 2 * outputs);
    const Size end = (part + 1) * share < args.planes ? (part + 1) * share : args.planes;
    for (Size plane = part * share; plane < end; ++plane)
      pool_plane(args, plane, count, count + cells, count + cells + outputs);
  }
  delete[] scratch;
}

}  // namespace SNN_ISA
}  // namespace snn
