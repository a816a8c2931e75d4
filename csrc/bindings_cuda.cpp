// snnkern._cuda: raw pointers, sizes, device index and stream. Checks nothing: snnkern/backends/native does.
#include "bindings_encode.h"
#include "bindings_moments.h"
#include "bindings_multistep.h"
#include "bindings_pack.h"
#include "bindings_pool.h"
#include "kernels/gpu.h"

using namespace snn;

PYBIND11_MODULE(_cuda, m) {
  m.doc() =
      "Native CUDA kernels by raw pointers: numbers and device addresses in, nothing checked. docs/backend.md is the\n"
      "contract; snnkern.functional is the same with checks, on tensors. Every function queues its kernels on "
      "`stream`\n"
      "(a cudaStream_t as a number, 0: the default one) of the device with this index and returns; an address of 0 is\n"
      "none. Raises RuntimeError if CUDA refuses.";
  const auto device = named("device") = 0, stream = named("stream") = 0, scratch = named("scratch") = 0;
  define_version(m);
  bind_multistep(m, gpu::multistep_fwd, gpu::multistep_bwd, device, stream);
  bind_moments(m, gpu::moments, device, stream);
  bind_encode(m, gpu::poisson, device, stream);
  bind_pack(m, gpu::pack, gpu::unpack, device, stream);
  bind_pool(m, gpu::pool_fwd, gpu::pool_bwd, scratch, device, stream);
  m.def(
      "pool_scratch",
      [](SNN_POOL_PARAMETERS, bool back, bool want_state) {
        return gpu::pool_scratch(pool_args(SNN_POOL_ARGUMENTS), back, want_state);
      },
      SNN_POOL_NAMES, named("back"), named("want_state"),
      "Bytes of device memory, aligned to 16, that pool_fwd (back: pool_bwd) needs as scratch. want_state: last "
      "(back:\n"
      "grad_state) is wanted.");
}
