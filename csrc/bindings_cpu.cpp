// snnkern._cpu: raw pointers, sizes, thread count. Checks nothing: snnkern/backends/native does.
#include "bindings_encode.h"
#include "bindings_event_grad.h"
#include "bindings_events.h"
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
  m.doc() =
      "Native CPU kernels by raw pointers: numbers and addresses in, nothing checked. docs/backend.md is the "
      "contract;\n"
      "snnkern.functional is the same with checks, on tensors. Every function runs on up to `threads` threads and\n"
      "returns when it is done; an address of 0 is none.";
  const auto threads = named("threads") = 1;
  define_version(m);
  bind_multistep(m, Unlocked<cpu::multistep_fwd>::run, Unlocked<cpu::multistep_bwd>::run, threads);
  bind_moments(m, Unlocked<cpu::moments>::run, threads);
  bind_add_line(m, Unlocked<cpu::add_line>::run, threads);
  bind_encode(m, Unlocked<cpu::poisson>::run, threads);
  bind_event_grad(m);
  bind_events(m);
  bind_pack(m, Unlocked<cpu::pack>::run, Unlocked<cpu::unpack>::run, threads);
  bind_pool(m, Unlocked<cpu::pool_fwd>::run, Unlocked<cpu::pool_bwd>::run, threads);
  m.def("instruction_sets", cpu::instruction_sets, "Those that this machine can run, best first.");
  m.def("instruction_set", cpu::chosen, "The one in use.");
  m.def("choose_instruction_set", cpu::choose, py::arg("name"),
        "Use this one from now on, in the whole process. Raises ValueError for one that this machine cannot run.");
  m.def("kept_bytes", blocks::kept, "Bytes of Blocks that are kept for reuse.");
  m.def("keep_limit", blocks::limit, "The most bytes of Blocks that may be kept.");
  m.def("set_keep_limit", blocks::set_limit, named("bytes"), "Keep at most so many; 0: none. Lowering frees at once.");
  py::class_<Block>(m, "Block", py::buffer_protocol(),
                    "Memory for one large output, a writable buffer aligned to 2 MiB, in huge pages where the system\n"
                    "grants them. Its bytes are kept for the next Block when it goes. thrifty: any kept one that is\n"
                    "large enough will do, and all others go before more is asked for.")
      .def(py::init<std::size_t, bool>(), named("bytes"), named("thrifty") = false)
      .def_buffer([](Block& b) {
        return py::buffer_info(b.memory.at, 1, "B", 1, {static_cast<py::ssize_t>(b.bytes)}, {py::ssize_t{1}});
      });
}
