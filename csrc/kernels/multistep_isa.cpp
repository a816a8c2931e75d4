// The multistep loops of one instruction set (compiled once for each, SNN_ISA names it).
//
// Time is the outer loop, neurons are the inner one, inside a tile whose potentials stay in the L1 cache. Each
// stage of a tile (load to float32, step, surrogate, adjoint, store) is one short loop over a row that the
// compiler vectorises; only step and surrogate are types, the rest is decided once a row.
#include "kernels/detail/isa.h"
#include "kernels/detail/rows.h"
#include "math/step.h"

namespace snn {
inline namespace SNN_ISA {
namespace {

using Size = std::int64_t;
constexpr Size kTile = 2048;     // forward: v stays in the L1 cache
constexpr Size kPiece = 256;     // of a row: what is converted or streamed at a time
constexpr Size kTileBack = 256;  // backward: the 16 rows of h between checkpoints take a third of the L1 cache
constexpr Size kInterval = 16;   // at most
static_assert(kTileBack <= kPiece, "Row::write converts so many at a time");

// Part of a row of [T, n] in memory, seen as float32: in place where it is, through `buffer` otherwise.
struct Row {
  void* base;
  Dtype dtype;
  bool streamed;

  char* at(Size offset) const { return static_cast<char*>(base) + offset * bytes_of(dtype); }

  // Whether a part can be streamed as it is computed.
  bool whole_lines(Size offset, Size m) const {
    return streamed && dtype == Dtype::f32 && m % kLines == 0 && reinterpret_cast<std::uintptr_t>(at(offset)) % 64 == 0;
  }

  const float* read(Size offset, Size m, float* buffer) const {
    if (dtype == Dtype::f32) return reinterpret_cast<const float*>(at(offset));
    const Half* from = reinterpret_cast<const Half*>(at(offset));
    dtype == Dtype::f16 ? load_f16(buffer, from, m) : load_bf16(buffer, from, m);
    return buffer;
  }

  float* target(Size offset, float* buffer) const {
    return dtype == Dtype::f32 && !streamed ? reinterpret_cast<float*>(at(offset)) : buffer;
  }

  void write(Size offset, Size m, const float* row) const {
    alignas(64) Half packed[kPiece];
    if (dtype == Dtype::f32) {
      if (streamed) stream(at(offset), row, 4 * m);
      return;
    }
    Half* to = streamed ? packed : reinterpret_cast<Half*>(at(offset));
    dtype == Dtype::f16 ? store_f16(to, row, m) : store_bf16(to, row, m);
    if (streamed) stream(at(offset), packed, 2 * m);
  }
};

Row row_of(const void* base, const MultistepArgs& args, bool streamed) {
  return {const_cast<void*>(base), args.dtype, streamed};
}

Size tile_size(Size n, Size most, int threads) {
  const Size share = (n / threads + 63) / 64 * 64;
  return share < 64 ? 64 : share < most ? share : most;
}

void fill(float* v, const float* from, float start, Size m) {
  for (Size j = 0; j < m; ++j) v[j] = from ? from[j] : start;
}

void copy(float* to, const float* from, Size m) {
  for (Size j = 0; j < m; ++j) to[j] = from[j];
}

template <class S>
void emit_row(const S& step, const float* __restrict__ x, float* __restrict__ v, float* __restrict__ s, Size m) {
  for (Size j = 0; j < m; ++j) s[j] = step.forward(x[j], v[j]);
}

// Asks for a row before it is used: rows are far apart, and the processor does not look ahead over pages.
void prefetch_row(const Row& row, Size offset, Size m) {
  for (Size j = 0; j < m; j += 64 / bytes_of(row.dtype)) __builtin_prefetch(row.at(offset + j));
}

template <class S>
void charge_row(const S& step, const float* __restrict__ x, float* __restrict__ v, float* __restrict__ h, Size m) {
  for (Size j = 0; j < m; ++j) step.forward(x[j], v[j], h[j]);
}

template <class S>
void adjoint_row(const S& step, const float* __restrict__ g, const float* __restrict__ slope,
                 const float* __restrict__ h, float* __restrict__ gv, float* __restrict__ gx, Size m) {
  for (Size j = 0; j < m; ++j) gx[j] = step.backward(g[j], slope[j], h[j], gv[j]);
}

// slope_row and adjoint_row in one, for one level: a tenth less time.
template <class Surrogate, class S>
void fused_row(const S& step, const Spec& spec, const float* __restrict__ g, const float* __restrict__ h,
               float* __restrict__ gv, float* __restrict__ gx, Size m) {
  const Surrogate surrogate(spec.surrogate_values);
  const float theta = step.fire.theta;
  for (Size j = 0; j < m; ++j) gx[j] = step.backward(g[j], surrogate.grad(h[j] - theta), h[j], gv[j]);
}

// ds/dh of a row: a function chosen once, so that surrogates do not multiply the other types.
using SlopeRow = void (*)(const Spec&, float theta, int levels, const float* h, float* p, Size m);

template <class Surrogate>
void slope_row(const Spec& spec, float theta, int levels, const float* __restrict__ h, float* __restrict__ p, Size m) {
  const Surrogate surrogate(spec.surrogate_values);
  for (Size j = 0; j < m; ++j) p[j] = surrogate.grad(h[j] - theta);
  for (int k = 2; k <= levels; ++k)
    for (Size j = 0; j < m; ++j) p[j] += surrogate.grad(h[j] - k * theta);
}

SlopeRow slope_row_of(const Spec& spec) {
  SlopeRow found = nullptr;
  visit_surrogate(spec, [&](auto surrogate) { found = slope_row<decltype(surrogate)>; });
  return found;
}

// The adjoint of a row, chosen once: fused where there is one level, else slope by slope into p first.
template <class Charge, class Fire, class Reset>
struct Adjoint {
  using S = Step<Charge, Fire, Reset>;
  SlopeRow slope;
  explicit Adjoint(const Spec& spec) : slope(slope_row_of(spec)) {}
  void operator()(const S& step, const Spec& spec, const float* g, const float* h, float* p, float* gv, float* gx,
                  Size m) const {
    slope(spec, step.fire.theta, step.fire.levels, h, p, m);
    adjoint_row(step, g, p, h, gv, gx, m);
  }
};

template <class Charge, class Reset>
struct Adjoint<Charge, Binary, Reset> {
  using S = Step<Charge, Binary, Reset>;
  void (*row)(const S&, const Spec&, const float*, const float*, float*, float*, Size) = nullptr;
  explicit Adjoint(const Spec& spec) {
    visit_surrogate(spec, [&](auto surrogate) { row = fused_row<decltype(surrogate), S>; });
  }
  void operator()(const S& step, const Spec& spec, const float* g, const float* h, float*, float* gv, float* gx,
                  Size m) const {
    row(step, spec, g, h, gv, gx, m);
  }
};

template <class Charge, class Fire, class Reset>
Adjoint<Charge, Fire, Reset> adjoint_of(const Step<Charge, Fire, Reset>&, const Spec& spec) {
  return Adjoint<Charge, Fire, Reset>(spec);
}

// A streamed row of float32 in one loop: neither the next row of x nor the spikes wait for each other.
template <class S>
void emit_streamed(const S& step, const float* __restrict__ x, Size ahead, float* __restrict__ v, float* __restrict__ s,
                   Size m) {
  for (Size j = 0; j < m; j += kLines) {
    alignas(64) float lines[kLines];
    if (ahead)
      for (Size k = 0; k < kLines; k += 16) __builtin_prefetch(x + ahead + j + k);
    for (Size k = 0; k < kLines; ++k) lines[k] = step.forward(x[j + k], v[j + k]);
    stream_lines(s + j, lines);
  }
}

// Charges, fires and resets m neurons of row `here`, piece by piece: what is converted or streamed stays in L1.
template <class S>
void forward_row(const S& step, const Row& x, const Row& s, Size from, Size here, Size ahead, float* v, Size m) {
  if (s.whole_lines(here, m)) {
    const float* row = reinterpret_cast<const float*>(x.at(from));
    return emit_streamed(step, row, ahead, v, reinterpret_cast<float*>(s.at(here)), m);
  }
  alignas(64) float in[kPiece], out[kPiece];
  for (Size j = 0; j < m; j += kPiece) {
    const Size count = m - j < kPiece ? m - j : kPiece;
    if (ahead) prefetch_row(x, from + ahead + j, count);
    float* row = s.target(here + j, out);
    emit_row(step, x.read(from + j, count, in), v + j, row, count);
    s.write(here + j, count, row);
  }
}

template <class S>
void forward_tile(const ForwardArgs& args, const S& step, Size lo, Size m, bool streamed) {
  alignas(64) float v[kTile];
  const Row x = row_of(args.x, args, false), s = row_of(args.s, args, streamed);
  fill(v, args.v0 ? args.v0 + lo : nullptr, step.reset.start(), m);
  for (Size t = 0; t < args.T; ++t) {
    const Size here = t * args.n + lo, next = t + 1;
    const Size ahead = args.constant || next == args.T ? 0 : args.n;
    forward_row(step, x, s, args.constant ? lo : here, here, ahead, v, m);
    if (args.checkpoints && next % args.interval == 0 && next < args.T)
      copy(args.checkpoints + (next / args.interval - 1) * args.n + lo, v, m);
  }
  if (args.v_last) copy(args.v_last + lo, v, m);
}

// One tile backward: chunk by chunk from the end, each recomputed from the potential before it.
template <class S, class Adjoint>
void backward_tile(const BackwardArgs& args, const S& step, const Adjoint& adjoint, Size lo, Size m, bool streamed) {
  alignas(64) float h[kInterval][kTileBack], v[kTileBack], gv[kTileBack], p[kTileBack];
  alignas(64) float in[kTileBack], grad[kTileBack], out[kTileBack], sum[kTileBack];
  const Row x = row_of(args.x, args, false), g = row_of(args.grad_s, args, false);
  const Row gx = row_of(args.grad_x, args, streamed && !args.constant);
  fill(gv, args.grad_last ? args.grad_last + lo : nullptr, 0.f, m);
  fill(sum, nullptr, 0.f, m);
  const float* current = args.constant ? x.read(lo, m, in) : nullptr;
  for (Size chunk = (args.T - 1) / args.interval; chunk >= 0; --chunk) {
    const Size first = chunk * args.interval;
    const Size last = first + args.interval < args.T ? first + args.interval : args.T;
    const float* before = chunk ? args.checkpoints + (chunk - 1) * args.n : args.v0;
    fill(v, before ? before + lo : nullptr, step.reset.start(), m);
    for (Size t = first; t < last; ++t) {
      if (!args.constant) current = x.read(t * args.n + lo, m, in);
      const bool more = t + 2 < last;
      if (more && !args.constant) prefetch_row(x, (t + 2) * args.n + lo, m);
      if (!more) prefetch_row(g, t * args.n + lo, m);
      charge_row(step, current, v, h[t - first], m);
    }
    for (Size t = last - 1; t >= first; --t) {
      const Size here = t * args.n + lo;
      float* row = args.constant ? out : gx.target(here, out);
      if (t >= first + 2) prefetch_row(g, here - 2 * args.n, m);
      adjoint(step, args.spec, g.read(here, m, grad), h[t - first], p, gv, row, m);
      if (args.constant)
        for (Size j = 0; j < m; ++j) sum[j] += row[j];
      else
        gx.write(here, m, row);
    }
  }
  if (args.constant) {
    float* row = gx.target(lo, out);
    copy(row, sum, m);
    gx.write(lo, m, row);
  }
  if (args.grad_v0) copy(args.grad_v0 + lo, gv, m);
}

// f(step) with the types of the neuron's charge, fire and reset.
template <class F>
void visit_step(const Spec& spec, F&& f) {
  visit_charge(spec, [&](auto charge) {
    visit_fire(spec, [&](auto fire) {
      visit_reset(spec,
                  [&](auto reset) { f(Step<decltype(charge), decltype(fire), decltype(reset)>{charge, fire, reset}); });
    });
  });
}

// f(lo, m) for every tile of n neurons, spread over the threads.
template <class F>
void for_tiles(Size n, Size most, int threads, bool streamed, F&& f) {
  const Size tile = tile_size(n, most, threads), tiles = (n + tile - 1) / tile;
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
#pragma omp for schedule(static) nowait
    for (Size i = 0; i < tiles; ++i) f(i * tile, n - i * tile < tile ? n - i * tile : tile);
    if (streamed) stream_end();
  }
}

}  // namespace

void multistep_fwd(const ForwardArgs& args, int threads, bool streamed) {
  visit_step(args.spec, [&](auto step) {
    for_tiles(args.n, kTile, threads, streamed, [&](Size lo, Size m) { forward_tile(args, step, lo, m, streamed); });
  });
}

void multistep_bwd(const BackwardArgs& args, int threads, bool streamed) {
  visit_step(args.spec, [&](auto step) {
    const auto adjoint = adjoint_of(step, args.spec);
    for_tiles(args.n, kTileBack, threads, streamed,
              [&](Size lo, Size m) { backward_tile(args, step, adjoint, lo, m, streamed); });
  });
}

}  // namespace SNN_ISA
}  // namespace snn
