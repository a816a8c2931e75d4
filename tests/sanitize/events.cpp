// Event-driven programs: a layer of neurons, or of currents, and a pool behind it.
#include <algorithm>

#include "cases.h"
#include "kernels/cpu.h"

namespace check {
namespace {

using namespace snn;

constexpr int kLargest = 3;  // count of an input
constexpr int kThreads = 4;  // the driver's most

// What outputs look at, in memory of its own.
EventAxis look(Draw& draw, Memory& memory, Size size, Size kernel, Size stride, Size& out) {
  const Size padding = draw.whole(0, kernel / 2);
  out = (size + 2 * padding - kernel) / stride + 1;
  auto* inputs = memory.bytes(4 * out * kernel).as<std::int32_t>();
  for (Size o = 0; o < out; ++o)
    for (Size k = 0; k < kernel; ++k) {
      const Size at = o * stride + k - padding;
      inputs[o * kernel + k] = static_cast<std::int32_t>(at >= 0 && at < size ? at : -1);
    }
  return {inputs, out, kernel};
}

// Whole numbers of a few channels in each word, none behind step T.
char* draw_counts(Draw& draw, Memory& memory, const EventSlot& slot, Size images, Size T) {
  auto* bytes = memory.bytes(4 * images * slot.times(T) * slot.cells()).as<std::int8_t>();
  for (Size image = 0; image < images; ++image)
    for (Size k = 0; k < slot.times(T); ++k)
      for (Size i = 0; i < 4 * slot.cells(); ++i)
        *bytes++ = static_cast<std::int8_t>(4 * k + i % 4 < T && draw.chance(0.3) ? draw.whole(-1, kLargest) : 0);
  return reinterpret_cast<char*>(bytes) - 4 * images * slot.times(T) * slot.cells();
}

EventSynapse draw_synapse(Draw& draw, Memory& memory, const EventSlot& from, EventSlot& to) {
  const Size kernel = draw.whole(1, 3);
  EventSynapse s{};
  s.rows = look(draw, memory, from.height, kernel, draw.whole(1, 2), to.height);
  s.cols = look(draw, memory, from.width, kernel, draw.whole(1, 2), to.width);
  s.channelwise = draw.chance(0.2);
  s.shared = draw.chance(0.2);
  s.groups = s.channelwise ? 1 : draw.of<Size>({1, 1, 2});
  s.first = draw.whole(0, from.channels % 2);
  s.inputs = s.channelwise ? 1 : (from.channels - s.first) / s.groups;
  s.outputs = s.channelwise ? std::min(from.channels - s.first, to.channels) : to.channels / s.groups;
  s.block = s.outputs > 16 ? 32 : 16;
  s.type = s.channelwise ? Weights::f32 : static_cast<Weights>(draw.whole(0, 2));
  const Size taps = s.shared ? 1 : kernel * kernel;
  if (s.channelwise) {
    s.weights = memory.floats(taps * s.outputs);
    return s;
  }
  const Size count = s.groups * s.blocks() * taps * s.inputs * s.block;
  if (s.type == Weights::i8) {
    Array& bytes = memory.bytes(count);
    for (char* at = bytes.begin(); at < bytes.end(); ++at) *at = static_cast<char>(draw.whole(-127, 127));
    s.weights = bytes.begin();
    s.scales = memory.floats(s.groups * s.outputs);
  } else {
    s.weights = memory.numbers(count, s.type == Weights::bf16);
  }
  return s;
}

}  // namespace

Case events(Draw& draw, Memory& memory) {
  const Size images = draw.whole(1, 3), T = draw.of<Size>({1, 3, 4, 7, 8, 13}), side = draw.whole(3, 9);
  auto program = std::make_shared<EventProgram>();
  EventSlot in{Held::counts, side, draw.whole(3, 8), draw.of<Size>({2, 5, 16, 33})}, out = in, pooled;
  const bool fires = draw.chance(0.8);
  out.held = fires ? Held::counts : Held::currents;
  out.channels = draw.of<Size>({2, 10, 34, 64});
  EventStep layer{
      1, EventPooling::none, {draw_synapse(draw, memory, in, out)}, {}, nullptr, fires, {}, nullptr, memory.floats(1),
      1};
  if (draw.chance(0.5)) layer.bias = memory.floats(out.channels);
  layer.spec.fire = draw.chance(0.5) ? FireId::Burst : FireId::SignedMemory;
  layer.spec.reset = ResetId::Soft;
  layer.spec.fire_values[0] = 1;
  layer.spec.fire_values[1] = kLargest;
  if (layer.spec.fire == FireId::SignedMemory) layer.spec.fire_values[4] = 1;
  std::fill(std::begin(layer.spec.rows), std::end(layer.spec.rows), -1);
  EventStep pool{
      2, static_cast<EventPooling>(draw.whole(0, 3)), {EventSynapse{}}, {}, nullptr, false, {}, nullptr, nullptr, 0};
  pooled = out;
  EventSynapse& window = pool.synapses[0];
  window.source = 1;
  const Size kernel = std::min({draw.whole(1, 3), out.height, out.width});
  window.rows = look(draw, memory, out.height, kernel, draw.whole(1, 3), pooled.height);
  window.cols = look(draw, memory, out.width, kernel, draw.whole(1, 3), pooled.width);
  program->slots = {in, out, pooled};
  program->steps = {layer, pool};
  const auto size = [&](const EventSlot& slot) { return 4 * slot.times(T) * slot.cells(); };
  // What all images have, or what threads have a place for.
  const Size together = draw.whole(1, 2), places = kThreads * together;
  const bool local = draw.chance(0.4), fresh = local || draw.chance(0.5);
  // What is local is whatever thread's: no result.
  const auto inner = [&](Size bytes) {
    return EventMemory{local ? memory.bytes(bytes * places).begin() : memory.written<char>(bytes * images), local};
  };
  const EventMemory none = {nullptr, false};
  const bool counting = fires && pool.pooling != EventPooling::max && pool.pooling != EventPooling::sum;
  const std::vector<EventMemory> buffers = {
      {draw_counts(draw, memory, in, images, T), false},
      fires ? inner(size(out)) : EventMemory{memory.written<char>(images * size(out)), false},
      fires ? EventMemory{memory.written<char>(images * size(pooled)), false} : none};
  const std::vector<EventMemory> states = {fires ? inner(4 * out.cells() * layer.spec.states()) : none,
                                           counting ? inner(4 * out.cells()) : none};
  const std::vector<int> numbers = fires ? std::vector<int>{0, 1} : std::vector<int>{0};
  const std::vector<int> blocks(2, draw.of<int>({1, 2, 4, 8}));
  const Size sizes[] = {images * 4 * out.cells() * layer.spec.states(), images * 4 * out.cells()};
  const auto call = [=, sizes = std::vector<Size>(sizes, sizes + 2)](int threads, bool) {
    for (int i = 0; i < 2 && !fresh; ++i)
      if (states[i].at) std::fill(states[i].at, states[i].at + sizes[i], '\0');
    cpu::event_run({*program, numbers, buffers, states, blocks, images, T, together, fresh}, threads);
  };
  return {"events, images " + std::to_string(images) + ", T " + std::to_string(T) + ", channels " +
              std::to_string(in.channels) + ", " + std::to_string(out.channels),
          false, call};
}

Case spikes_packed(Draw& draw, Memory& memory) {
  const Size steps = draw.of<Size>({1, 2, 4}), n = draw.of<Size>({1, 15, 17, 300, 4097, 70001});
  float* x = memory.floats(steps * n, -2, 3);
  for (Size i = 0; i < steps * n; ++i) x[i] = static_cast<float>(static_cast<int>(x[i]));
  if (draw.chance(0.3)) x[draw.whole(0, steps * n - 1)] = draw.of<float>({0.5f, 128.f, 1e30f});
  auto* words = memory.written<std::int32_t>(n);
  auto* found = memory.written<std::int64_t>(2);
  const auto call = [=](int threads, bool) {
    std::fill(words, words + n, 0);  // of what holds no spikes it is left as it was
    found[0] = found[1] = 0;
    cpu::event_pack({steps, n, x, words, found, found + 1}, threads);
  };
  return {"packed spikes, steps " + std::to_string(steps) + ", n " + std::to_string(n), true, call};
}

Case weight_gradient(Draw& draw, Memory& memory) {
  const auto window = [&] {
    EventWindow w{draw.whole(1, 9), 0, draw.whole(1, 4), draw.whole(1, 3), draw.whole(0, 3), draw.whole(1, 2)};
    w.size = std::max(w.size, (w.kernel - 1) * w.dilation + 1 - 2 * w.padding);
    w.out = (w.size + 2 * w.padding - (w.kernel - 1) * w.dilation - 1) / w.stride + 1;
    return w;
  };
  EventGradArgs args{};
  args.steps = draw.of<Size>({1, 2, 4});
  args.images = draw.of<Size>({1, 2, 7, 40});
  args.inputs = draw.of<Size>({1, 3, 16, 35});
  args.outputs = draw.of<Size>({1, 10, 32, 70});
  args.rows = window();
  args.cols = window();
  const EventSlot in{Held::counts, args.rows.size, args.cols.size, args.inputs};
  args.words = reinterpret_cast<std::int32_t*>(draw_counts(draw, memory, in, args.images, args.steps));
  args.grad = memory.floats(args.steps * args.images * args.rows.out * args.cols.out * args.outputs);
  args.weight = memory.written<float>(args.inputs * args.rows.kernel * args.cols.kernel * args.outputs);
  const auto call = [=](int threads, bool) { cpu::event_grad(args, threads); };
  return {"weight gradient, images " + std::to_string(args.images) + ", channels " + std::to_string(args.inputs) +
              ", " + std::to_string(args.outputs),
          false, call};
}

}  // namespace check
