// What both bindings share: how Python's numbers become the arguments of a kernel.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/multistep.h"

using Address = std::uintptr_t;

template <class T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

inline snn::Spec unpack(const std::string& packed) {
  snn::Spec spec;
  if (packed.size() != sizeof spec) throw std::invalid_argument("packed neuron of another version");
  std::memcpy(&spec, packed.data(), sizeof spec);
  return spec;
}

inline snn::MultistepArgs multistep_args(const std::string& neuron, int dtype, std::int64_t T, std::int64_t n,
                                         std::int64_t interval, bool constant, Address x, Address v0,
                                         Address checkpoints) {
  return {unpack(neuron), static_cast<snn::Dtype>(dtype), T, n, interval, constant, at<void>(x),
          at<float>(v0),  at<float>(checkpoints)};
}

// The names of the parts in the order of their ids: tests compare them with Python's lists.
inline void define_names(pybind11::module_& m) {
#define SNN_NAME(name) #name,
  m.attr("CHARGES") = std::vector<std::string>{SNN_CHARGES(SNN_NAME)};
  m.attr("FIRES") = std::vector<std::string>{SNN_FIRES(SNN_NAME)};
  m.attr("RESETS") = std::vector<std::string>{SNN_RESETS(SNN_NAME)};
  m.attr("SURROGATES") = std::vector<std::string>{SNN_SURROGATES(SNN_NAME)};
#undef SNN_NAME
}
