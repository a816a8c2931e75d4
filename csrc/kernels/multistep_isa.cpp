// The multistep loops of one instruction set (compiled once for each, SNN_ISA names it).
//
// Time is the outer loop, neurons are the inner one, inside a tile whose states stay in the L1 cache. Each stage of a
// tile (load to float32, charge, fire and reset, surrogate, adjoint, store) is one short loop over a row.
#if defined(_OPENMP)
#include <omp.h>
#endif

#include "kernels/detail/isa.h"
#include "kernels/detail/numbers.h"
#include "kernels/detail/quick_rows.h"
#include "kernels/detail/rows.h"
#include "kernels/detail/states.h"

namespace snn {
inline namespace SNN_ISA {
namespace {

constexpr Size kTile = 2048;        // forward: v before and after a step stay in the L1 cache
constexpr Size kTileNumbers = 512;  // forward with coefficients: their rows do, too
constexpr Size kTileBack = 256;     // backward: the 16 rows of h between checkpoints take a third of the L1 cache
constexpr Size kTileSums = 192;     // with gradients of coefficients: x and v of 16 steps are there, too
constexpr Size kInterval = 16;      // at most
static_assert(kTileBack <= kPiece, "Row::write converts so many at a time");

Size tile_size(Size n, Size most, int threads) {
  const Size share = (n / threads + 63) / 64 * 64;
  return share < 64 ? 64 : share < most ? share : most;
}

// Asks for a row before it is used: rows are far apart, and the processor does not look ahead over pages.
void prefetch_row(const Row& row, Size offset, Size m) {
  for (Size j = 0; j < m; j += 64 / bytes_of(row.dtype)) __builtin_prefetch(row.at(offset + j));
}

// The stages of a neuron: one for all, of its own numbers or of coefficients, where it is a common one, or null.
struct Stages {
  const QuickStage* quick;
  const QuickRowStage* quick_rows;
  const ChargeStage& charge;
  const FireStage& fire;

  // Whether rows are taken as they are stored.
  bool brief(Dtype dtype) const { return quick && quick->brief && dtype == Dtype::bf16; }
};

template <Size M>
void forward_tile(const ForwardArgs& args, const Stages& stages, Size lo, Size count, bool streamed) {
  const QuickStage* quick = stages.quick;
  const FireStage& fire = stages.fire;
  const Size n = args.n, S = args.spec.states();
  const Row x = row_of(args.x, args, false), s = row_of(args.s, args, streamed);
  const Row trace = {args.v, Dtype::f32, streamed};
  const Second second(args, streamed);
  States<2, M> at;
  Tile<M> tile(args.spec, args.coefficients);
  const bool own = args.coefficients.values, brief = stages.brief(args.dtype);
  const bool alone = quick && !args.v && !args.residual, wide = args.dtype == Dtype::f32;
  const bool by_lines = alone && (brief || (streamed && wide));
  const Size piece = alone && wide && !streamed ? M : kPiece;  // in place: at one go
  at.load(0, args.spec, args.states ? args.states + lo : nullptr, n, fire.start, count);
  for (Size t = 0; t < args.T; ++t) {
    const Size now = quick ? 0 : t & 1, then = quick ? 0 : now ^ 1, next = t + 1;
    const Size here = t * n + lo, from = args.constant ? lo : here, ahead = args.constant || next == args.T ? 0 : n;
    if (own) tile.fill(t, lo, count);
    const Numbers numbers = tile.numbers();
    const bool lines = by_lines && s.whole_lines(here, count);
    if (lines && brief)
      quick->forward_lines(x.bf16(from), ahead, at.v[0], at.m[0], s.bf16(here), streamed, count);
    else if (lines)
      quick->forward_lines(x.f32(from), ahead, at.v[0], at.m[0], s.f32(here), streamed, count);
    for (Size j = 0; j < count && !lines; j += piece) {
      alignas(64) float in[kPiece], h[kPiece], out[kPiece];
      const Size m = count - j < piece ? count - j : piece;
      const Numbers k = numbers.from(j);
      if (ahead) prefetch_row(x, from + ahead + j, m);
      const float* input = second.before(here + j, x.read(from + j, m, in), in, m);
      float* row = s.target(here + j, out);
      if (quick) {
        quick->forward(input, at.v[now] + j, at.m[now] + j, row, m);
      } else if (stages.quick_rows) {
        stages.quick_rows->forward(k, input, {at.v[now] + j, at.v[then] + j}, row, m);
      } else {
        stages.charge.forward(k, at.v[now] + j, input, {at.i[now] + j, at.i[then] + j}, h, m);
        fire.forward(k, h, {at.v[now] + j, at.v[then] + j}, {at.m[now] + j, at.m[then] + j}, row, m);
      }
      second.after(here + j, row, m);
      s.write(here + j, m, row);
      if (args.v) {
        if (!streamed) copy(args.v + here + j, at.v[then] + j, m);
        trace.write(here + j, m, at.v[then] + j);
      }
    }
    if (args.checkpoints && next % args.interval == 0 && next < args.T)
      at.store(then, args.spec, args.checkpoints + (next / args.interval - 1) * S * n + lo, n, count);
  }
  if (args.last) at.store(quick ? 0 : args.T & 1, args.spec, args.last + lo, n, count);
}

// One tile backward.
class BackwardTile {
 public:
  BackwardTile(const BackwardArgs& args, const Stages& stages, const SurrogateStage& surrogate, Size lo, Size m,
               bool streamed, double* sums)
      : args_(args),
        quick_(stages.quick),
        brief_(stages.brief(args.dtype)),
        quick_rows_(stages.quick_rows),
        charge_(stages.charge),
        fire_(stages.fire),
        surrogate_(surrogate),
        lo_(lo),
        m_(m),
        sums_out_(sums),
        x_(row_of(args.x, args, false)),
        g_(row_of(args.grad_s, args, false)),
        more_(row_of(args.grad_sum, args, false)),
        gx_(row_of(args.grad_x, args, streamed && !args.constant)),
        numbers_(args.spec, args.coefficients),
        sums_(args.spec, args.coefficients, args.coefficients.values) {}

  // Chunk by chunk from the end, each recomputed from the states before it.
  void run() {
    const BackwardArgs& a = args_;
    flow_.load(0, a.spec, a.grad_last ? a.grad_last + lo_ : nullptr, a.n, 0.f, m_);
    if (!quick_) {
      fill(gh_[0], nullptr, 0.f, m_);
      numbers_.fill(0, lo_, m_);
    }
    if (quick_rows_) quick_rows_->factors(numbers_.numbers(), dv_, dx_, m_);
    if (a.line) fill_line();
    if (a.constant) fill(sum_, nullptr, 0.f, m_);
    for (Size chunk = (a.T - 1) / a.interval; chunk >= 0; --chunk) {
      const Size first = chunk * a.interval, last = first + a.interval < a.T ? first + a.interval : a.T;
      recompute(chunk, first, last);
      for (Size t = last - 1; t >= first; --t) step(t, t - first, first);
    }
    if (fire_.delayed) before_the_first_step();
    if (sums_out_ && (a.coefficients.steps == 1 || fire_.delayed)) flush(0);
    if (a.constant && a.grad_x) {
      float* row = gx_.target(lo_, out_);
      copy(row, sum_, m_);
      if (a.line) add_line(row, input(0));
      gx_.write(lo_, m_, row);
    }
    if (a.grad_states) flow_.store(0, a.spec, a.grad_states + lo_, a.n, m_);
  }

 private:
  void recompute(Size chunk, Size first, Size last) {
    const BackwardArgs& a = args_;
    const float* before = chunk ? a.checkpoints + (chunk - 1) * a.spec.states() * a.n : a.states;
    at_.load(0, a.spec, before ? before + lo_ : nullptr, a.n, fire_.start, m_);
    for (Size t = first; t < last; ++t) {
      const Size k = t - first, v = place(k), after = place(k + 1);
      const bool more = t + 2 < last;
      if (more && !a.constant) prefetch_row(x_, (t + 2) * a.n + lo_, m_);
      if (!more) prefetch_row(g_, t * a.n + lo_, m_);
      if (quick_) {
        brief_ ? quick_->recompute(x_.bf16(from(t)), at_.v[0], h_[k], m_)
               : quick_->recompute(input(t), at_.v[0], h_[k], m_);
        continue;
      }
      vary(t);
      if (quick_rows_) {
        quick_rows_->recompute(numbers_.numbers(), input(t), {at_.v[v], at_.v[after]}, h_[k], m_);
        continue;
      }
      charge_.forward(numbers_.numbers(), at_.v[v], input(t), {at_.i[k], at_.i[k + 1]}, h_[k], m_);
      fire_.forward(numbers_.numbers(), h_[k], {at_.v[v], at_.v[after]}, {at_.m[k], at_.m[k + 1]}, out_, m_);
    }
  }

  // Step t, whose potentials are rows k.
  void step(Size t, Size k, Size first) {
    const BackwardArgs& a = args_;
    const Size here = t * a.n + lo_;
    if (t >= first + 2) prefetch_row(g_, here - 2 * a.n, m_);
    vary(t);
    if (quick_rows_ && a.coefficients.steps > 1) quick_rows_->factors(numbers_.numbers(), dv_, dx_, m_);
    if (a.grad_v) add(flow_.v[0], a.grad_v + here, m_);
    if (brief_ && a.grad_x && !a.constant && !a.line && !a.grad_sum) return brief_step(here, k);
    const float* grad = g_.read(here, m_, grad_);
    const bool own = a.grad_x && !a.constant;
    float* row = own ? gx_.target(here, out_) : out_;
    if (quick_)
      quick_->backward(grad, h_[k], flow_.v[0], row, m_);
    else if (quick_rows_)
      quick_rows_->backward(numbers_.numbers(), dv_, dx_, grad, h_[k], sums_out_ ? input(t) : nullptr, at_.v[place(k)],
                            flow_.v[0], row, sums_out_ ? sums_.rows() : Sums{}, m_);
    else
      charged(t, k, fired(grad, h_[k], at_.m[k]), row);
    if (a.constant) add(sum_, row, m_);
    if (own) {
      if (a.line) add_line(row, input(t));
      if (a.grad_sum) add(row, more_.read(here, m_, grad_), m_);
      gx_.write(here, m_, row);
    }
    if (sums_out_ && a.coefficients.steps > 1) flush(t);
  }

  // bfloat16 from memory to memory.
  void brief_step(Size here, Size k) {
    alignas(64) Bf16 row[kTileBack];
    Bf16* to = gx_.streamed ? row : gx_.bf16(here);
    quick_->backward(g_.bf16(here), h_[k], flow_.v[0], to, m_);
    if (gx_.streamed) stream(gx_.at(here), row, sizeof(Bf16) * m_);
  }

  // What was summed (of step t, if coefficients vary), to the output.
  void flush(Size t) {
    if (quick_rows_) quick_rows_->finish(numbers_.numbers(), sums_.rows(), m_);
    sums_.flush(t, lo_, m_, sums_out_);
  }

  void fill_line() {
    for (int i = 0; i < 2; ++i)
      fill_channels(args_.coefficients, args_.line + i * args_.coefficients.channels, lo_, m_, line_[i]);
  }
  void add_line(float* row, const float* x) const {
    for (Size j = 0; j < m_; ++j) row[j] += line_[0][j] * x[j] + line_[1][j];
  }

  // The charge of one step: dL/dx from dL/dh.
  void charged(Size t, Size k, const float* gh, float* row) {
    const Sums sums = collected();
    const float* used = nullptr;
    if (sums.a) used = charge_.filters ? at_.i[charge_.late ? k : k + 1] : input(t);
    charge_.backward(numbers_.numbers(), gh, at_.v[place(k)], used, flow_.v[0], flow_.i[0], row, sums, m_);
  }

  // Surrogate, fire and reset of one step: dL/dh.
  const float* fired(const float* grad, const float* h, const float* m) {
    const Sums sums = collected();
    const bool gated = fire_.remembers && fire_.negative.count;
    const float* bars = fire_.bars(numbers_.numbers(), m, bars_, m_);
    if (!bars && gated) bars = numbers_.row(kTheta);
    const SlopeRows p = {p_[0], p_[1], sums.a ? p_[2] : nullptr, sums.a ? p_[3] : nullptr, p_[4], p_[5]};
    const float* alpha = numbers_.row(kAlpha);
    surrogate_.forward(fire_.positive, 1.f, fire_.theta, bars, alpha, h, nullptr, p.up, p.up_level, p.up_alpha, m_);
    if (fire_.negative.count)
      surrogate_.forward(fire_.negative, -1.f, fire_.theta, bars, alpha, h, gated ? m : nullptr, p.down, p.down_level,
                         p.down_alpha, m_);
    const float* next = gh_[turn_];
    turn_ ^= 1;
    fire_.backward(numbers_.numbers(), grad, p, h, m, {flow_.v[0], flow_.m[0], {next, gh_[turn_]}}, sums, m_);
    return gh_[turn_];
  }

  // What a delayed reset of the first step takes off for the potential it starts from: a step without a charge.
  void before_the_first_step() {
    at_.load(0, args_.spec, args_.states ? args_.states + lo_ : nullptr, args_.n, fire_.start, m_);
    vary(0);
    fill(grad_, nullptr, 0.f, m_);
    copy(flow_.v[0], fired(grad_, at_.v[0], at_.m[0]), m_);
  }

  Size from(Size t) const { return args_.constant ? lo_ : t * args_.n + lo_; }
  const float* input(Size t) { return x_.read(from(t), m_, in_); }
  // Of all neurons with coefficients, wanted or not: two loops fewer; only common neurons tell the difference.
  Sums collected() { return args_.coefficients.values ? sums_.rows() : Sums{}; }
  // Sums need the potential before each step, else two places do.
  Size place(Size k) const { return args_.coefficients.values ? k : k & 1; }
  void vary(Size t) {
    if (args_.coefficients.steps > 1) numbers_.fill(t, lo_, m_);
  }

  const BackwardArgs& args_;
  const QuickStage* quick_;
  const bool brief_;
  const QuickRowStage* quick_rows_;
  const ChargeStage& charge_;
  const FireStage& fire_;
  const SurrogateStage& surrogate_;
  const Size lo_, m_;
  double* sums_out_;
  const Row x_, g_, more_, gx_;
  Tile<kTileBack> numbers_;
  TileSums<kTileBack> sums_;
  States<kInterval + 1, kTileBack> at_;
  States<1, kTileBack> flow_;
  Size turn_ = 0;
  alignas(64) float h_[kInterval][kTileBack], gh_[2][kTileBack], p_[6][kTileBack], bars_[kTileBack];
  alignas(64) float dv_[kTileBack], dx_[kTileBack], line_[2][kTileBack];
  alignas(64) float in_[kTileBack], grad_[kTileBack], out_[kTileBack], sum_[kTileBack];
};

int thread_number() {
#if defined(_OPENMP)
  return omp_get_thread_num();
#else
  return 0;
#endif
}

// f(lo, m, thread) for every tile of n neurons, spread over the threads.
template <class F>
void for_tiles(Size n, Size most, int threads, bool streamed, F&& f) {
  const Size tile = tile_size(n, most, threads), tiles = (n + tile - 1) / tile;
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    const int thread = thread_number();
#pragma omp for schedule(static) nowait
    for (Size i = 0; i < tiles; ++i) f(i * tile, n - i * tile < tile ? n - i * tile : tile, thread);
    if (streamed) stream_end();
  }
}

// f(stages) with those of a neuron, for forward or back. (Not inlined: each would be there once for each type of
// stage.)
template <class F>
void with_stages(const MultistepArgs& args, bool back, F&& f) {
  const Spec& spec = args.spec;
  with_fire(spec, [&](const FireStage& fire, float carry) __attribute__((noinline)) {
    with_charge(spec, carry, [&](const ChargeStage& charge) __attribute__((noinline)) {
      const auto run = [&](const QuickStage* quick, const QuickRowStage* rows)
                           __attribute__((noinline)) { f(Stages{quick, rows, charge, fire}); };
      if (args.coefficients.values)
        with_quick_rows(spec, [&](const QuickRowStage* rows) { run(nullptr, rows); });
      else
        with_quick(spec, back, [&](const QuickStage* quick) { run(quick, nullptr); });
    });
  });
}

}  // namespace

void multistep_fwd(const ForwardArgs& args, int threads, bool streamed) {
  const bool own = args.coefficients.values;
  const auto run = own ? forward_tile<kTileNumbers> : forward_tile<kTile>;
  with_stages(args, false, [&](const Stages& stages) {
    for_tiles(args.n, own ? kTileNumbers : kTile, threads, streamed,
              [&](Size lo, Size m, int) { run(args, stages, lo, m, streamed); });
  });
}

void multistep_bwd(const BackwardArgs& args, int threads, bool streamed, double* sums) {
  with_stages(args, true, [&](const Stages& stages) {
    with_surrogate(args.spec, [&](const SurrogateStage& surrogate) {
      for_tiles(args.n, sums ? kTileSums : kTileBack, threads, streamed, [&](Size lo, Size m, int thread) {
        double* own = sums ? sums + thread * args.coefficient_count() : nullptr;
        BackwardTile(args, stages, surrogate, lo, m, streamed, own).run();
      });
    });
  });
}

}  // namespace SNN_ISA
}  // namespace snn
