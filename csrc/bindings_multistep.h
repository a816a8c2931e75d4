// The multistep kernels: how Python's numbers become their arguments.
#pragma once

#include "bindings_neuron.h"
#include "kernels/multistep.h"

namespace snn {

// What both directions get from Python, in this order: before the first array of their own, and behind it.
#define SNN_HEAD_PARAMETERS const py::bytes &neuron, int dtype, std::int64_t T, std::int64_t n, Address x
#define SNN_TAIL_PARAMETERS                                                                                            \
  Address states, Address checkpoints, std::int64_t interval, bool constant, Address coefficients, std::int64_t steps, \
      std::int64_t channels, std::int64_t inner
#define SNN_COMMON_ARGUMENTS \
  neuron, dtype, T, n, x, states, checkpoints, interval, constant, coefficients, steps, channels, inner
#define SNN_HEAD_NAMES named("neuron"), named("dtype"), named("T"), named("n"), named("x")
#define SNN_TAIL_NAMES                                                                             \
  named("states") = 0, named("checkpoints") = 0, named("interval") = 8, named("constant") = false, \
  named("coefficients") = 0, named("steps") = 1, named("channels") = 1, named("inner") = 1

inline MultistepArgs multistep_args(SNN_HEAD_PARAMETERS, SNN_TAIL_PARAMETERS) {
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

template <class... Where, class... Places>
void bind_forward(py::module_& m, void (*forward)(const ForwardArgs&, Where...), const Places&... places) {
  m.def(
      "multistep_fwd",
      [=](SNN_HEAD_PARAMETERS, Address s, SNN_TAIL_PARAMETERS, Address last, Address v, int connect, Address residual,
          Address sum, Where... where) {
        forward({multistep_args(SNN_COMMON_ARGUMENTS), at<void>(s), at<float>(last), at<float>(v),
                 static_cast<Connect>(connect), at<void>(residual), at<void>(sum)},
                where...);
      },
      SNN_HEAD_NAMES, named("s"), SNN_TAIL_NAMES, named("last") = 0, named("v") = 0, named("connect") = 0,
      named("residual") = 0, named("sum") = 0, places...,
      "All T steps of n neurons: reads x [T, n] (constant: [1, n]), writes spikes s [T, n].\n"
      "Reads, or 0: states [S, n] before the first step, coefficients [P, steps, channels] (neuron i is of channel\n"
      "i // inner % channels), residual [T, n] (connect 1: added to s; 2: added to x). Writes, or 0: checkpoints\n"
      "[ceil(T / interval) - 1, S, n], last [S, n], v [T, n], sum [T, n]. x, s, residual and sum are of dtype, the "
      "rest\n"
      "is float32.");
}

template <class... Where, class... Places>
void bind_backward(py::module_& m, void (*backward)(const BackwardArgs&, Where...), const Places&... places) {
  m.def(
      "multistep_bwd",
      [=](SNN_HEAD_PARAMETERS, Address grad_s, SNN_TAIL_PARAMETERS, Address grad_last, Address grad_v, Address grad_sum,
          Address line, Address grad_x, Address grad_states, Address sums, Where... where) {
        backward({multistep_args(SNN_COMMON_ARGUMENTS), at<void>(grad_s), at<float>(grad_last), at<float>(grad_v),
                  at<void>(grad_sum), at<float>(line), at<void>(grad_x), at<float>(grad_states), at<float>(sums)},
                 where...);
      },
      SNN_HEAD_NAMES, named("grad_s"), SNN_TAIL_NAMES, named("grad_last") = 0, named("grad_v") = 0,
      named("grad_sum") = 0, named("line") = 0, named("grad_x") = 0, named("grad_states") = 0, named("sums") = 0,
      places...,
      "Backward of multistep_fwd, whose x (with connect 2: sum), states, coefficients and checkpoints it reads again.\n"
      "Reads: grad_s [T, n]; or 0: grad_last [S, n], grad_v [T, n], grad_sum [T, n], line [2, channels]. Writes, or "
      "0:\n"
      "grad_x [T, n] (constant: [1, n]), grad_states [S, n], sums (_cpu: [P, steps, channels], _cuda: [P, steps, n]).\n"
      "checkpoints are needed where T > interval.");
}

template <class... Where, class... Places>
void bind_multistep(py::module_& m, void (*forward)(const ForwardArgs&, Where...),
                    void (*backward)(const BackwardArgs&, Where...), const Places&... places) {
  bind_neuron(m);
  define_names(m, "DTYPES", {"float32", "float16", "bfloat16"});
  define_names(m, "CONNECTS", {"", "sew", "ms"});
  bind_forward(m, forward, places...);
  bind_backward(m, backward, places...);
}

}  // namespace snn
