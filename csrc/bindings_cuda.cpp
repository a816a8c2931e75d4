// snnkern._cuda: raw pointers, sizes, device index and stream. Checks nothing: snnkern/backends/native.py does.
#include "bindings.h"
#include "kernels/gpu.h"

namespace py = pybind11;
using namespace snn;

namespace {

void forward(const std::string& neuron, int dtype, std::int64_t T, std::int64_t n, std::int64_t interval, bool constant,
             Address x, Address v0, Address checkpoints, Address s, Address v_last, int device, Address stream) {
  const ForwardArgs args = {multistep_args(neuron, dtype, T, n, interval, constant, x, v0, checkpoints), at<void>(s),
                            at<float>(v_last)};
  gpu::multistep_fwd(args, device, at<void>(stream));
}

void backward(const std::string& neuron, int dtype, std::int64_t T, std::int64_t n, std::int64_t interval,
              bool constant, Address x, Address v0, Address checkpoints, Address grad_s, Address grad_last,
              Address grad_x, Address grad_v0, int device, Address stream) {
  const BackwardArgs args = {multistep_args(neuron, dtype, T, n, interval, constant, x, v0, checkpoints),
                             at<void>(grad_s), at<float>(grad_last), at<void>(grad_x), at<float>(grad_v0)};
  gpu::multistep_bwd(args, device, at<void>(stream));
}

}  // namespace

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "Native CUDA kernels: raw pointers in, nothing checked. Use snnkern.functional instead.";
  define_names(m);
  m.def("multistep_fwd", forward);
  m.def("multistep_bwd", backward);
}
