// Neurons of all parts, both directions.
#include <algorithm>

#include "cases.h"

namespace check {
namespace {

using namespace snn;

constexpr int kCharges = 5, kFires = 8, kResets = 5, kSurrogates = 12;  // without Custom, which no kernel runs

// Some flag of 0 or 1.
float flag(Draw& draw) { return static_cast<float>(draw.whole(0, 1)); }

void draw_charge(Draw& draw, Spec& spec) {
  float* values = spec.charge_values;
  spec.charge = static_cast<ChargeId>(draw.whole(0, kCharges - 1));
  values[0] = spec.charge == ChargeId::LIF ? draw.of<float>({2, 4, 1.7f, 3}) : draw.number(0.2, 1);
  values[1] = draw.of<float>({0, 0.1f, 1});
  const bool late = spec.charge == ChargeId::Synaptic;
  values[late ? 3 : 2] = flag(draw);
  if (late) values[2] = draw.number(0, 1);
  values[kConstant] = draw.of<float>({0, 0, 0.3f});
}

void draw_fire(Draw& draw, Spec& spec) {
  float* values = spec.fire_values;
  spec.fire = static_cast<FireId>(draw.whole(0, kFires - 1));
  const auto counted = static_cast<float>(draw.whole(1, 4));
  values[0] = draw.of<float>({1, 0.7f, 0.5f});
  switch (spec.fire) {
    case FireId::Binary: values[1] = flag(draw), values[2] = flag(draw); break;
    case FireId::Adaptive: values[1] = 0.2f, values[2] = 0.9f, values[3] = flag(draw); break;
    case FireId::Ternary: values[1] = counted, values[2] = flag(draw), values[3] = flag(draw); break;
    default:
      values[1] = counted;
      values[2] = flag(draw);
      values[3] = draw.of<float>({0, -1, -0.5f});
      values[4] = draw.of<float>({1, 0.5f});
      values[5] = spec.fire == FireId::Signed ? flag(draw) : 0;
  }
}

void draw_reset(Draw& draw, Spec& spec) {
  float* values = spec.reset_values;
  do spec.reset = static_cast<ResetId>(draw.whole(0, kResets - 1));
  while (spec.delayed() && spec.remembers());
  const bool numbered = spec.reset == ResetId::Hard || spec.reset == ResetId::Bounded;
  if (numbered) values[0] = draw.of<float>({0, -0.3f, -1});
  values[numbered ? 1 : 0] = flag(draw);
  if (!spec.delayed() && spec.reset != ResetId::NoReset) values[numbered ? 2 : 1] = flag(draw);
}

void draw_surrogate(Draw& draw, Spec& spec) {
  spec.surrogate = static_cast<SurrogateId>(draw.whole(0, kSurrogates - 1));
  spec.surrogate_values[0] = spec.surrogate == SurrogateId::Window ? -0.5f : draw.of<float>({1, 2, 4});
  spec.surrogate_values[1] = draw.of<float>({1, 0.1f});
}

bool may_be_row(const Spec& spec, int slot) {
  const bool weighs = spec.charge == ChargeId::Affine || spec.filters();
  switch (slot) {
    case kA: return weighs || spec.charge == ChargeId::PLIF;
    case kB: return weighs;
    case kAlpha: return spec.surrogate == SurrogateId::ATan || spec.surrogate == SurrogateId::LeakyReLU;
    default: return true;
  }
}

// What both directions read.
MultistepArgs common(Draw& draw, Memory& memory, const Shape& shape, bool constant) {
  MultistepArgs args{};
  draw_charge(draw, args.spec);
  draw_fire(draw, args.spec);
  draw_reset(draw, args.spec);
  draw_surrogate(draw, args.spec);
  args.dtype = shape.dtype;
  args.T = shape.T;
  args.n = shape.n;
  args.interval = draw.of<Size>({1, 3, 8, 16});
  args.constant = constant;
  args.x = memory.numbers((constant ? 1 : shape.T) * shape.n, shape.halves());
  if (draw.chance(0.5)) args.states = memory.floats(args.spec.states() * shape.n);
  std::fill(std::begin(args.spec.rows), std::end(args.spec.rows), -1);
  args.coefficients = {nullptr, 1, shape.channels, shape.inner};
  if (draw.chance(0.5)) return args;
  int rows = 0;
  for (int slot = 0; slot < kSlots; ++slot)
    if (may_be_row(args.spec, slot) && draw.chance(0.6)) args.spec.rows[slot] = rows++;
  const bool fixed = args.spec.delayed() && args.spec.rows[kTheta] >= 0;
  if (rows && !fixed && draw.chance(0.4)) args.coefficients.steps = shape.T;
  if (rows) args.coefficients.values = memory.floats(args.coefficient_count(), 0.1, 1.5);
  return args;
}

Size kept(const MultistepArgs& args) {
  return ((args.T + args.interval - 1) / args.interval - 1) * args.spec.states() * args.n;
}

std::string named(const char* name, const MultistepArgs& args, const Shape& shape) {
  const auto part = [](auto id) { return " " + std::to_string(static_cast<int>(id)); };
  return name + part(args.spec.charge) + part(args.spec.fire) + part(args.spec.reset) + part(args.spec.surrogate) +
         ", " + shape.text() + ", interval" + part(args.interval) + ", constant" + part(args.constant) +
         ", coefficients" + part(args.coefficient_count()) + ", steps" + part(args.coefficients.steps);
}

}  // namespace

Case forward(Draw& draw, Memory& memory) {
  const Shape shape(draw);
  const Size all = shape.T * shape.n;
  ForwardArgs args{};
  static_cast<MultistepArgs&>(args) = common(draw, memory, shape, draw.chance(0.2));
  const Size states = args.spec.states() * shape.n;
  args.s = memory.written_as(all, shape.halves());
  if (kept(args) && draw.chance(0.5)) args.checkpoints = memory.written<float>(kept(args));
  if (draw.chance(0.5)) args.last = memory.written<float>(states);
  if (draw.chance(0.3)) args.v = memory.written<float>(all);
  args.connect = static_cast<Connect>(draw.whole(0, 2));
  if (args.connect != Connect::none) args.residual = memory.numbers(all, shape.halves());
  if (args.connect == Connect::ms && draw.chance(0.7)) args.sum = memory.written_as(all, shape.halves());
  const auto call = [args](int threads, bool streamed) { cpu::kernels().multistep_fwd(args, threads, streamed); };
  return {named("forward", args, shape), true, call};
}

Case backward(Draw& draw, Memory& memory) {
  const Shape shape(draw);
  const Size all = shape.T * shape.n;
  BackwardArgs args{};
  static_cast<MultistepArgs&>(args) = common(draw, memory, shape, draw.chance(0.2));
  const Size states = args.spec.states() * shape.n, count = args.coefficient_count();
  if (kept(args)) {
    args.checkpoints = memory.floats(kept(args));
    ForwardArgs before{};
    static_cast<MultistepArgs&>(before) = args;
    before.s = memory.bytes(4 * all).begin();
    cpu::kernels().multistep_fwd(before, 1, false);
  }
  args.grad_s = memory.numbers(all, shape.halves());
  if (draw.chance(0.5)) args.grad_last = memory.floats(states);
  if (draw.chance(0.3)) args.grad_v = memory.floats(all);
  if (draw.chance(0.3) && !args.constant) args.grad_sum = memory.numbers(all, shape.halves());
  if (draw.chance(0.3)) args.line = memory.floats(2 * shape.channels);
  if (draw.chance(0.8)) args.grad_x = memory.written_as(args.constant ? shape.n : all, shape.halves());
  if (draw.chance(0.6)) args.grad_states = memory.written<float>(states);
  double* sums = count && draw.chance(0.8) ? memory.written<double>(4 * count) : nullptr;
  if (sums) args.sums = memory.floats(count);
  const auto call = [args, sums, count](int threads, bool streamed) {
    if (sums) std::fill(sums, sums + 4 * count, 0.);
    cpu::kernels().multistep_bwd(args, threads, streamed, sums);
  };
  return {named("backward", args, shape), false, call};
}

}  // namespace check
