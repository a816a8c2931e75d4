// Neurons as the kernels read them (math/spec.h): packed by name, so that callers need not know the layout.
#pragma once

#include <algorithm>
#include <cstring>
#include <iterator>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "bindings.h"
#include "math/spec.h"

namespace snn {

using Names = std::vector<std::string>;
using Part = std::pair<std::string, std::vector<float>>;

// The parts of each axis in the order of their ids: tests compare them with Python's lists.
#define SNN_NAME(name) #name,
inline const Names kCharges{SNN_CHARGES(SNN_NAME)}, kFires{SNN_FIRES(SNN_NAME)}, kResets{SNN_RESETS(SNN_NAME)},
    kSurrogates{SNN_SURROGATES(SNN_NAME)};
#undef SNN_NAME
// The names of the slots that coefficients may fill; a and k are the same one.
inline const Names kCoefficients{"a", "b", "c", "v_threshold", "alpha"};

inline int place_of(const std::string& name, const char* axis, const Names& names) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<int>(found - names.begin());
  std::string known;
  for (const std::string& each : names) known += (known.empty() ? "" : ", ") + each;
  throw std::invalid_argument(std::string(axis) + " must be one of " + known + ", got " + name);
}

// Puts the numbers of a part into a row of a Spec and returns its id.
inline int fill_part(const Part& part, const char* axis, const Names& names, float* row, std::size_t most) {
  const auto& [name, values] = part;
  const int id = place_of(name, axis, names);
  if (values.size() > most)
    throw std::invalid_argument(std::string(axis) + " " + name + " must have at most " + std::to_string(most) +
                                " numbers, got " + std::to_string(values.size()));
  std::copy(values.begin(), values.end(), row);
  return id;
}

inline py::bytes pack_neuron(const Part& charge, const Part& fire, const Part& reset, const Part& surrogate, float c,
                             const Names& coefficients) {
  Spec spec{};
  spec.charge = static_cast<ChargeId>(fill_part(charge, "charge", kCharges, spec.charge_values, kConstant));
  spec.charge_values[kConstant] = c;
  spec.fire = static_cast<FireId>(fill_part(fire, "fire", kFires, spec.fire_values, std::size(spec.fire_values)));
  spec.reset =
      static_cast<ResetId>(fill_part(reset, "reset", kResets, spec.reset_values, std::size(spec.reset_values)));
  spec.surrogate = static_cast<SurrogateId>(
      fill_part(surrogate, "surrogate", kSurrogates, spec.surrogate_values, std::size(spec.surrogate_values)));
  std::fill(std::begin(spec.rows), std::end(spec.rows), -1);
  int row = 0;
  for (const std::string& name : coefficients)
    spec.rows[place_of(name == "k" ? "a" : name, "coefficients", kCoefficients)] = row++;
  return {reinterpret_cast<const char*>(&spec), sizeof spec};
}

inline Spec unpack(const py::bytes& neuron) {
  const std::string_view packed(neuron);
  Spec spec;
  if (packed.size() != sizeof spec)
    throw std::invalid_argument("neuron must be the " + std::to_string(sizeof spec) +
                                " bytes that this version's pack_neuron returns, got " + std::to_string(packed.size()));
  std::memcpy(&spec, packed.data(), sizeof spec);
  return spec;
}

inline void bind_neuron(py::module_& m) {
  define_names(m, "CHARGES", kCharges);
  define_names(m, "FIRES", kFires);
  define_names(m, "RESETS", kResets);
  define_names(m, "SURROGATES", kSurrogates);
  m.def("pack_neuron", pack_neuron, py::arg("charge"), py::arg("fire"), py::arg("reset"),
        py::arg("surrogate") = Part("ATan", {2.f}), py::arg("c") = 0.f, py::arg("coefficients") = Names{},
        "A neuron as bytes. Each part is (name, numbers), in the order of the table in docs/backend.md; numbers that\n"
        "are left out are 0. c: the constant current. coefficients: which numbers (k, a, b, c, v_threshold, alpha)\n"
        "the rows of a call's coefficients replace. Raises ValueError for an unknown name or too many numbers.");
}

}  // namespace snn
