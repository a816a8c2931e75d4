// snnkern._cpu: raw pointers, sizes, thread count. Checks nothing: snnkern/backends/native.py does.
#include <array>

#include "bindings.h"
#include "kernels/blocks.h"
#include "kernels/cpu.h"

namespace py = pybind11;
using namespace snn;

namespace {

// Memory for one output, given back when the last tensor that uses it is gone.
struct Block {
  std::size_t bytes;
  void* memory;

  explicit Block(std::size_t size) : bytes(size), memory(blocks::take(size)) {}
  ~Block() { blocks::give(memory, bytes); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
};

void forward(SNN_COMMON_PARAMETERS, Address s, Address last, Address v, int threads) {
  const ForwardArgs args = forward_args(SNN_COMMON_ARGUMENTS, s, last, v);
  const py::gil_scoped_release released;
  cpu::multistep_fwd(args, threads);
}

void backward(SNN_COMMON_PARAMETERS, Address grad_s, Address grad_last, Address grad_v, Address grad_x,
              Address grad_states, Address sums, int threads) {
  const BackwardArgs args = backward_args(SNN_COMMON_ARGUMENTS, grad_s, grad_last, grad_v, grad_x, grad_states, sums);
  const py::gil_scoped_release released;
  cpu::multistep_bwd(args, threads);
}

using Sizes = std::array<std::int64_t, 2>;

void pool(int dtype, std::array<std::int64_t, 6> shape, Sizes kernel, Sizes stride, Sizes padding, Sizes dilation,
          float scale, Address x, Address out, int threads) {
  PoolArgs args = {static_cast<Dtype>(dtype),
                   shape[0],
                   shape[1],
                   shape[2],
                   shape[3],
                   shape[4],
                   shape[5],
                   {},
                   {},
                   {},
                   {},
                   scale,
                   at<void>(x),
                   at<void>(out)};
  for (int i = 0; i < 2; ++i) {
    args.kernel[i] = kernel[i];
    args.stride[i] = stride[i];
    args.padding[i] = padding[i];
    args.dilation[i] = dilation[i];
  }
  const py::gil_scoped_release released;
  cpu::lateral_pool(args, threads);
}

}  // namespace

PYBIND11_MODULE(_cpu, m) {
  m.doc() = "Native CPU kernels: raw pointers in, nothing checked. Use snnkern.functional instead.";
  define_names(m);
  m.def("multistep_fwd", forward);
  m.def("multistep_bwd", backward);
  m.def("lateral_pool2d", pool);
  m.def("instruction_sets", cpu::instruction_sets);
  m.def("instruction_set", cpu::chosen);
  m.def("choose_instruction_set", cpu::choose);
  m.def("kept_bytes", blocks::kept);
  m.def("keep_limit", blocks::limit);
  m.def("set_keep_limit", blocks::set_limit);
  py::class_<Block>(m, "Block", py::buffer_protocol()).def(py::init<std::size_t>()).def_buffer([](Block& b) {
    return py::buffer_info(b.memory, 1, "B", 1, {static_cast<py::ssize_t>(b.bytes)}, {py::ssize_t{1}});
  });
}
