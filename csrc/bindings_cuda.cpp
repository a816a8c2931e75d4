// snnkern._cuda: raw pointers, sizes, device index and stream. Checks nothing: snnkern/backends/native does.
#include "bindings_encode.h"
#include "bindings_moments.h"
#include "bindings_multistep.h"
#include "bindings_pack.h"
#include "bindings_pool.h"
#include "kernels/gpu.h"

using namespace snn;

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "Native CUDA kernels: raw pointers in, nothing checked. Use snnkern.functional instead.";
  bind_multistep(m, gpu::multistep_fwd, gpu::multistep_bwd);
  bind_moments(m, gpu::moments);
  bind_encode(m, gpu::poisson);
  bind_pack(m, gpu::pack, gpu::unpack);
  bind_pool(m, gpu::pool_fwd, gpu::pool_bwd);
  m.def("pool_scratch", [](SNN_POOL_PARAMETERS, bool back, bool want_state) {
    return gpu::pool_scratch(pool_args(SNN_POOL_ARGUMENTS), back, want_state);
  });
}
