// The multistep kernels: how Python's numbers become their arguments.
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings.h"
#include "kernels/multistep.h"

namespace snn {

inline Spec unpack(const std::string& packed) {
  Spec spec;
  if (packed.size() != sizeof spec) throw std::invalid_argument("packed neuron of another version");
  std::memcpy(&spec, packed.data(), sizeof spec);
  return spec;
}

// What both directions get from Python, in this order.
#define SNN_COMMON_PARAMETERS                                                                                         \
  const std::string &neuron, int dtype, std::int64_t T, std::int64_t n, std::int64_t interval, bool constant,         \
      Address coefficients, std::int64_t steps, std::int64_t channels, std::int64_t inner, Address x, Address states, \
      Address checkpoints
#define SNN_COMMON_ARGUMENTS \
  neuron, dtype, T, n, interval, constant, coefficients, steps, channels, inner, x, states, checkpoints

inline MultistepArgs multistep_args(SNN_COMMON_PARAMETERS) {
  return {unpack(neuron),
          static_cast<Dtype>(dtype),
          T,
          n,
          interval,
          constant,
          at<void>(x),
          at<float>(states),
          at<float>(checkpoints),
          {at<float>(coefficients), steps, channels, inner}};
}

inline ForwardArgs forward_args(SNN_COMMON_PARAMETERS, Address s, Address last, Address v, int connect,
                                Address residual, Address sum) {
  return {multistep_args(SNN_COMMON_ARGUMENTS), at<void>(s),        at<float>(last), at<float>(v),
          static_cast<Connect>(connect),        at<void>(residual), at<void>(sum)};
}

inline BackwardArgs backward_args(SNN_COMMON_PARAMETERS, Address grad_s, Address grad_last, Address grad_v,
                                  Address grad_sum, Address line, Address grad_x, Address grad_states, Address sums) {
  return {multistep_args(SNN_COMMON_ARGUMENTS),
          at<void>(grad_s),
          at<float>(grad_last),
          at<float>(grad_v),
          at<void>(grad_sum),
          at<float>(line),
          at<void>(grad_x),
          at<float>(grad_states),
          at<float>(sums)};
}

// The names of the parts in the order of their ids: tests compare them with Python's lists.
inline void define_names(py::module_& m) {
#define SNN_NAME(name) #name,
  m.attr("CHARGES") = std::vector<std::string>{SNN_CHARGES(SNN_NAME)};
  m.attr("FIRES") = std::vector<std::string>{SNN_FIRES(SNN_NAME)};
  m.attr("RESETS") = std::vector<std::string>{SNN_RESETS(SNN_NAME)};
  m.attr("SURROGATES") = std::vector<std::string>{SNN_SURROGATES(SNN_NAME)};
#undef SNN_NAME
}

template <class... Where>
void bind_multistep(py::module_& m, void (*forward)(const ForwardArgs&, Where...),
                    void (*backward)(const BackwardArgs&, Where...)) {
  define_names(m);
  m.def("multistep_fwd", [=](SNN_COMMON_PARAMETERS, Address s, Address last, Address v, int connect, Address residual,
                             Address sum, Where... where) {
    forward(forward_args(SNN_COMMON_ARGUMENTS, s, last, v, connect, residual, sum), where...);
  });
  m.def("multistep_bwd", [=](SNN_COMMON_PARAMETERS, Address grad_s, Address grad_last, Address grad_v, Address grad_sum,
                             Address line, Address grad_x, Address grad_states, Address sums, Where... where) {
    backward(backward_args(SNN_COMMON_ARGUMENTS, grad_s, grad_last, grad_v, grad_sum, line, grad_x, grad_states, sums),
             where...);
  });
}

}  // namespace snn
