// A neuron as data: what Program.packed in snnkern/neurons.py writes. Four ids (positions in the lists of the
// axes), the fields of each part, padded, and which row of the coefficients replaces which of these numbers.
#pragma once

namespace snn {

// The parts of each axis, in the order of the lists in Python (AXES in snnkern/neurons.py).
#define SNN_CHARGES(X) X(IF) X(LIF) X(PLIF) X(Affine) X(Synaptic)
#define SNN_FIRES(X) X(Binary) X(Burst) X(Ternary) X(Signed) X(SignedMemory) X(Integer) X(Adaptive) X(MultiSpike)
#define SNN_RESETS(X) X(Hard) X(Soft) X(NoReset) X(Delayed) X(Bounded)
// clang-format off
#define SNN_SURROGATES(X)                                                                         \
  X(ATan) X(Sigmoid) X(Triangle) X(Rectangle) X(LeakyReLU) X(Window) X(STE) X(FastSigmoid)        \
  X(SoftSign) X(SuperSpike) X(Erf) X(PiecewiseExp) X(Custom)
// clang-format on

#define SNN_ENUMERATOR(name) name,
enum class ChargeId : int { SNN_CHARGES(SNN_ENUMERATOR) };
enum class FireId : int { SNN_FIRES(SNN_ENUMERATOR) };
enum class ResetId : int { SNN_RESETS(SNN_ENUMERATOR) };
enum class SurrogateId : int { SNN_SURROGATES(SNN_ENUMERATOR) };
#undef SNN_ENUMERATOR

// The numbers that may be coefficients. a is PLIF's k, too.
enum Slot : int { kA, kB, kC, kTheta, kAlpha, kSlots };

// The place of a charge's constant c among its values.
constexpr int kConstant = 5;

struct Spec {
  ChargeId charge;
  FireId fire;
  ResetId reset;
  SurrogateId surrogate;
  float charge_values[6], fire_values[6], reset_values[6], surrogate_values[6];
  int rows[kSlots];  // of the coefficients, or -1

  // Variables of the state: v, the current of a charge that filters, the fire's own.
  bool filters() const { return charge == ChargeId::Synaptic; }
  bool remembers() const { return fire == FireId::SignedMemory || fire == FireId::Adaptive; }
  int states() const { return 1 + filters() + remembers(); }
  bool delayed() const { return reset == ResetId::Delayed; }

  // The number of the neuron itself where no coefficient replaces it.
  float number(int slot) const {
    switch (slot) {
      case kA: return charge_values[0];
      case kB: return charge_values[1];
      case kC: return charge_values[kConstant];
      case kTheta: return fire_values[0];
      default: return surrogate_values[0];
    }
  }
};

static_assert(sizeof(Spec) == 132, "Program.packed writes 4 ints, 24 floats and 5 ints");

}  // namespace snn
