// Moments, lines, the Poisson encoder, packed spikes and pools.
#include <algorithm>

#include "cases.h"

namespace check {
namespace {

using namespace snn;

constexpr int kThreads = 4;

PackArgs pack_args(Draw& draw, Size n) {
  PackArgs args{};
  args.kind = static_cast<PackKind>(draw.whole(0, 2));
  args.dtype = static_cast<Dtype>(draw.whole(0, 2));
  args.n = n;
  args.scale = args.inverse = 1;
  args.low = args.kind == PackKind::signed_counts ? -128 : 0;
  args.high = args.low + 255;
  args.one = args.dtype == Dtype::f32 ? 0x3f800000 : args.dtype == Dtype::f16 ? 0x3c00 : 0x3f80;
  return args;
}

Size packed_size(const PackArgs& args) { return args.kind == PackKind::bits ? (args.n + 7) / 8 : args.n; }

std::string named(const char* name, const PackArgs& args) {
  return std::string(name) + " kind " + std::to_string(static_cast<int>(args.kind)) + ", dtype " +
         std::to_string(static_cast<int>(args.dtype)) + ", n " + std::to_string(args.n);
}

Size draw_count(Draw& draw) {
  return draw.chance(0.5) ? draw.whole(1, 300) : draw.of<Size>({4095, 4096, 4097, 16384, 20001, 40007});
}

// A window that fits, as torch allows it.
Axis draw_axis(Draw& draw) {
  Axis axis{};
  axis.kernel = draw.whole(1, 4);
  axis.stride = draw.whole(1, 4);
  axis.padding = draw.whole(0, axis.kernel / 2);
  axis.dilation = draw.whole(1, 3);
  const Size extent = axis.dilation * (axis.kernel - 1) + 1;
  axis.size = std::max<Size>(draw.whole(1, 20), extent - 2 * axis.padding);
  axis.out = (axis.size + 2 * axis.padding - extent) / axis.stride + 1;
  return axis;
}

PoolArgs pool_args(Draw& draw, Memory& memory) {
  PoolArgs args{};
  args.mode = static_cast<Pooling>(draw.whole(0, 2));
  args.dtype = static_cast<Dtype>(draw.whole(0, 2));
  args.T = args.counts() ? draw.of<Size>({1, 2, 4, 5}) : 1;
  args.outer = draw.of<Size>({1, 2, 3, 7, 40});
  args.inner = draw.chance(0.6) ? 1 : draw.of<Size>({2, 3, 16, 17, 64, 100});
  args.rows = draw_axis(draw);
  args.cols = draw_axis(draw);
  if (draw.chance(0.3)) args.rows = {8, 4, 2, 2, 0, 1}, args.cols = {34, 17, 2, 2, 0, 1};
  args.scale = 1;
  const Size count = args.T * args.cells();
  if (args.dtype == Dtype::f32) {
    float* x = memory.floats(count, 0, 3);
    for (Size i = 0; i < count; ++i) x[i] = static_cast<float>(static_cast<int>(x[i]));
    args.x = x;
  } else {
    std::uint16_t* x = memory.bytes(2 * count).as<std::uint16_t>();
    const std::uint16_t one = args.dtype == Dtype::f16 ? 0x3c00 : 0x3f80;
    for (Size i = 0; i < count; ++i) x[i] = draw.chance(0.4) ? one : 0;
    args.x = x;
  }
  return args;
}

std::string named(const char* name, const PoolArgs& args) {
  std::string text = name;
  for (Size number : {Size(args.mode), Size(args.dtype), args.T, args.outer, args.inner})
    text += " " + std::to_string(number);
  for (const Axis& axis : {args.rows, args.cols}) {
    text += ",";
    for (Size number : {axis.size, axis.out, axis.kernel, axis.stride, axis.padding, axis.dilation})
      text += " " + std::to_string(number);
  }
  return text;
}

}  // namespace

Case moments(Draw& draw, Memory& memory) {
  const Shape shape(draw);
  const void* x = memory.numbers(shape.T * shape.n, shape.halves());
  float* origin = memory.written<float>(shape.channels);
  const Size count = 2 * shape.channels * kThreads;
  double* sums = memory.written<double>(count);
  const MomentsArgs args{shape.dtype, shape.T, shape.n, shape.channels, shape.inner, x, nullptr};
  const auto call = [args, origin, sums, count](int threads, bool) {
    std::fill(sums, sums + count, 0.);
    cpu::kernels().moments(args, threads, origin, sums);
  };
  return {"moments, " + shape.text(), false, call};
}

Case line(Draw& draw, Memory& memory) {
  const Shape shape(draw);
  const Size count = shape.T * shape.n;
  const float *x = memory.floats(count), *numbers = memory.floats(2 * shape.channels), *before = memory.floats(count);
  float* to = memory.written<float>(count);
  const AddLineArgs args{shape.T, shape.n, shape.channels, shape.inner, x, numbers, to};
  const auto call = [args, before, count](int threads, bool) {
    std::copy(before, before + count, args.to);
    cpu::kernels().add_line(args, threads);
  };
  return {"line, " + shape.text(), true, call};
}

Case poisson(Draw& draw, Memory& memory) {
  const Shape shape(draw);
  PoissonArgs args{};
  args.dtype = shape.dtype;
  args.T = shape.T;
  args.n = shape.n;
  args.seed = draw.whole(0, 1 << 30);
  args.first = draw.of<std::uint64_t>({0, 5, (std::uint64_t{1} << 32) - 3});
  args.channels = shape.channels;
  args.inner = shape.inner;
  args.x = memory.numbers(shape.n, shape.halves());
  args.s = memory.written_as(shape.T * shape.n, shape.halves());
  const auto call = [args](int threads, bool streamed) { cpu::kernels().poisson(args, threads, streamed); };
  return {"poisson, " + shape.text(), true, call};
}

// Spikes of 0 and 1, and in one of three cases some value that is no spike: `invalid` then says so.
Case packed(Draw& draw, Memory& memory) {
  PackArgs args = pack_args(draw, draw_count(draw));
  const bool wrong = draw.chance(0.3), halves = args.dtype != Dtype::f32;
  Array& x = memory.bytes(args.n * (halves ? 2 : 4));
  for (Size i = 0; i < args.n; ++i) {
    const std::uint32_t spike = draw.chance(0.3) ? args.one : 0;
    halves ? void(x.as<std::uint16_t>()[i] = static_cast<std::uint16_t>(spike))
           : void(x.as<std::uint32_t>()[i] = spike);
  }
  if (wrong) x.begin()[draw.whole(0, args.n - 1) * (halves ? 2 : 4)] = 7;
  args.x = x.begin();
  args.packed = wrong ? memory.bytes(packed_size(args)).begin() : memory.written<char>(packed_size(args));
  if (wrong || draw.chance(0.5)) args.invalid = memory.written<std::int32_t>(1);
  const auto call = [args](int threads, bool) {
    if (args.invalid) *args.invalid = 0;
    cpu::kernels().pack(args, threads);
  };
  return {named("pack", args), true, call};
}

Case unpacked(Draw& draw, Memory& memory) {
  PackArgs args = pack_args(draw, draw_count(draw));
  Array& bytes = memory.bytes(packed_size(args));
  for (char* at = bytes.begin(); at < bytes.end(); ++at) *at = static_cast<char>(draw.whole(0, 255));
  args.packed = bytes.begin();
  args.x = memory.written_as(args.n, args.dtype != Dtype::f32);
  return {named("unpack", args), true, [args](int threads, bool) { cpu::kernels().unpack(args, threads); }};
}

Case pool_forward(Draw& draw, Memory& memory) {
  PoolForwardArgs args{};
  static_cast<PoolArgs&>(args) = pool_args(draw, memory);
  args.out = memory.written_as(args.T * args.outputs(), args.dtype != Dtype::f32);
  if (args.counts() && draw.chance(0.5)) {
    float* state = memory.floats(args.cells(), 0, 4);
    for (Size i = 0; i < args.cells(); ++i) state[i] = static_cast<float>(static_cast<int>(state[i]));
    args.state = state;
  }
  if (args.counts() && draw.chance(0.5)) args.last = memory.written<float>(args.cells());
  return {named("pool", args), true, [args](int threads, bool) { cpu::kernels().pool_fwd(args, threads); }};
}

Case pool_backward(Draw& draw, Memory& memory) {
  PoolBackwardArgs args{};
  static_cast<PoolArgs&>(args) = pool_args(draw, memory);
  const bool halves = args.dtype != Dtype::f32, lateral = args.mode == Pooling::lateral;
  if (args.counts()) {
    float* last = memory.floats(args.cells());
    args.last = last;
    PoolForwardArgs before{};
    static_cast<PoolArgs&>(before) = args;
    before.out = memory.bytes(args.T * args.outputs() * 4).begin();
    before.last = last;
    cpu::kernels().pool_fwd(before, 1);
  }
  args.grad = memory.numbers(args.T * args.outputs(), halves);
  args.grad_x = memory.written_as(args.T * args.cells(), halves);
  if (lateral && draw.chance(0.5)) args.grad_last = memory.floats(args.cells());
  if (lateral && draw.chance(0.5)) args.grad_state = memory.written<float>(args.cells());
  return {named("pool backward", args), false, [args](int threads, bool) { cpu::kernels().pool_bwd(args, threads); }};
}

}  // namespace check
