// snnkern._cpu: raw pointers, sizes, thread count. Checks nothing: snnkern/backends/native does.
#include "bindings_encode.h"
#include "bindings_moments.h"
#include "bindings_multistep.h"
#include "bindings_pack.h"
#include "bindings_pool.h"
#include "kernels/blocks.h"
#include "kernels/cpu.h"

using namespace snn;

namespace {

// Memory for one output, given back when the last tensor that uses it is gone; reuse: kept for the next one then.
struct Block {
  std::size_t bytes;
  blocks::Memory memory;

  Block(std::size_t size, bool thrifty) : bytes(size), memory(blocks::take(size, thrifty)) {}
  ~Block() { blocks::give(memory); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
};

// A kernel that runs while Python's other threads do.
template <auto kernel>
struct Unlocked;
template <class Args, void (*kernel)(const Args&, int)>
struct Unlocked<kernel> {
  static void run(const Args& args, int threads) {
    const py::gil_scoped_release released;
    kernel(args, threads);
  }
};

}  // namespace

PYBIND11_MODULE(_cpu, m) {
  m.doc() = "Native CPU kernels: raw pointers in, nothing checked. Use snnkern.functional instead.";
  bind_multistep(m, Unlocked<cpu::multistep_fwd>::run, Unlocked<cpu::multistep_bwd>::run);
  bind_moments(m, Unlocked<cpu::moments>::run);
  bind_add_line(m, Unlocked<cpu::add_line>::run);
  bind_encode(m, Unlocked<cpu::poisson>::run);
  bind_pack(m, Unlocked<cpu::pack>::run, Unlocked<cpu::unpack>::run);
  bind_pool(m, Unlocked<cpu::pool_fwd>::run, Unlocked<cpu::pool_bwd>::run);
  m.def("instruction_sets", cpu::instruction_sets);
  m.def("instruction_set", cpu::chosen);
  m.def("choose_instruction_set", cpu::choose);
  m.def("kept_bytes", blocks::kept);
  m.def("keep_limit", blocks::limit);
  m.def("set_keep_limit", blocks::set_limit);
  py::class_<Block>(m, "Block", py::buffer_protocol())
      .def(py::init<std::size_t, bool>(), py::arg("bytes"), py::arg("thrifty") = false)
      .def_buffer([](Block& b) {
        return py::buffer_info(b.memory.at, 1, "B", 1, {static_cast<py::ssize_t>(b.bytes)}, {py::ssize_t{1}});
      });
}
