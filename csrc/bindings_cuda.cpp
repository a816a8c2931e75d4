// snnkern._cuda: raw pointers, sizes, device index and stream. Checks nothing: snnkern/backends/native.py does.
#include "bindings.h"
#include "kernels/gpu.h"

namespace py = pybind11;
using namespace snn;

namespace {

void forward(SNN_COMMON_PARAMETERS, Address s, Address last, Address v, int device, Address stream) {
  const ForwardArgs args = forward_args(SNN_COMMON_ARGUMENTS, s, last, v);
  gpu::multistep_fwd(args, device, at<void>(stream));
}

void backward(SNN_COMMON_PARAMETERS, Address grad_s, Address grad_last, Address grad_v, Address grad_x,
              Address grad_states, Address sums, int device, Address stream) {
  const BackwardArgs args = backward_args(SNN_COMMON_ARGUMENTS, grad_s, grad_last, grad_v, grad_x, grad_states, sums);
  gpu::multistep_bwd(args, device, at<void>(stream));
}

}  // namespace

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "Native CUDA kernels: raw pointers in, nothing checked. Use snnkern.functional instead.";
  define_names(m);
  m.def("multistep_fwd", forward);
  m.def("multistep_bwd", backward);
}
