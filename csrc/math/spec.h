// A neuron as data: what Neuron.packed in snnkern/neurons.py writes. Four ids (positions in the lists of the
// axes) and the fields of each part, padded to four.
#pragma once

namespace snn {

// The parts of each axis, in the order of the lists in Python (AXES in snnkern/neurons.py).
#define SNN_CHARGES(X) X(IF) X(LIF)
#define SNN_FIRES(X) X(Binary) X(Burst)
#define SNN_RESETS(X) X(Hard) X(Soft)
#define SNN_SURROGATES(X) X(ATan) X(Sigmoid) X(Triangle) X(Rectangle)

#define SNN_ENUMERATOR(name) name,
enum class ChargeId : int { SNN_CHARGES(SNN_ENUMERATOR) };
enum class FireId : int { SNN_FIRES(SNN_ENUMERATOR) };
enum class ResetId : int { SNN_RESETS(SNN_ENUMERATOR) };
enum class SurrogateId : int { SNN_SURROGATES(SNN_ENUMERATOR) };
#undef SNN_ENUMERATOR

struct Spec {
  ChargeId charge;
  FireId fire;
  ResetId reset;
  SurrogateId surrogate;
  float charge_values[4], fire_values[4], reset_values[4], surrogate_values[4];
};

static_assert(sizeof(Spec) == 80, "Neuron.packed writes 4 ints and 16 floats");

}  // namespace snn
