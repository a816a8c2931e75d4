// The moments of one instruction set: sums of deviations from a number near the mean, and of their squares.
#if defined(_OPENMP)
#include <omp.h>
#endif

#include "kernels/detail/isa.h"
#include "kernels/detail/numbers.h"
#include "kernels/detail/rows.h"

namespace snn {
inline namespace SNN_ISA {
namespace {

constexpr Size kLanes = 64;       // sums of a run of neurons in float32, as many at once
constexpr Size kRun = 4096;       // at most, before they are added up in double
constexpr Size kRowsAtOnce = 64;  // where neighbours are neighbouring channels: rows before sums go to double

// Sums of x - origin and of its square over a run of one channel.
SNN_LOOP run_sums(const SNN_ROW x, float origin, double* first, double* second, Size count) {
  alignas(64) float sum[kLanes] = {}, square[kLanes] = {};
  Size j = 0;
  for (; j + kLanes <= count; j += kLanes)
    for (Size q = 0; q < kLanes; ++q) {
      const float d = x[j + q] - origin;
      sum[q] += d;
      square[q] += d * d;
    }
  for (Size q = 0; j + q < count; ++q) {
    const float d = x[j + q] - origin;
    sum[q] += d;
    square[q] += d * d;
  }
  double a = 0, b = 0;
  for (Size q = 0; q < kLanes; ++q) {
    a += static_cast<double>(sum[q]);
    b += static_cast<double>(square[q]);
  }
  *first += a;
  *second += b;
}

// The same of few neurons: lanes would cost more than they save.
void short_sums(const float* x, float origin, double* first, double* second, Size count) {
  float sum = 0.f, square = 0.f;
  for (Size j = 0; j < count; ++j) {
    const float d = x[j] - origin;
    sum += d;
    square += d * d;
  }
  *first += static_cast<double>(sum);
  *second += static_cast<double>(square);
}

// The same of as many channels as neurons.
SNN_LOOP channel_sums(const SNN_ROW x, const SNN_ROW origin, SNN_ROW sum, SNN_ROW square, Size count) {
  for (Size j = 0; j < count; ++j) {
    const float d = x[j] - origin[j];
    sum[j] += d;
    square[j] += d * d;
  }
}

struct Sums2 {
  double *first, *second;  // [channels]
};

// Runs of one channel in neurons lo .. lo + m of a row.
void add_runs(const MomentsArgs& args, const Row& x, Size offset, Size lo, Size m, const float* origin, Sums2 to) {
  alignas(64) float buffer[kRun];
  const Coefficients channels = {nullptr, 1, args.channels, args.inner};
  for_channels(channels, lo, m, [&](Size channel, Size j, Size count) {
    for (Size k = 0; k < count; k += kRun) {
      const Size run = count - k < kRun ? count - k : kRun;
      (run < kLanes ? short_sums : run_sums)(x.read(offset + lo + j + k, run, buffer), origin[channel],
                                             to.first + channel, to.second + channel, run);
    }
  });
}

// Blocks of channels of rows first .. last of [rows, channels].
void add_rows(const MomentsArgs& args, const Row& x, Size first, Size last, const float* origin, Sums2 to) {
  alignas(64) float sum[kPiece], square[kPiece], buffer[kPiece];
  for (Size c = 0; c < args.channels; c += kPiece) {
    const Size m = args.channels - c < kPiece ? args.channels - c : kPiece;
    for (Size q = 0; q < m; ++q) sum[q] = square[q] = 0.f;
    for (Size row = first; row < last; ++row)
      channel_sums(x.read(row * args.channels + c, m, buffer), origin + c, sum, square, m);
    for (Size q = 0; q < m; ++q) {
      to.first[c + q] += static_cast<double>(sum[q]);
      to.second[c + q] += static_cast<double>(square[q]);
    }
  }
}

// A number near the mean of each channel: that of its first few neurons in the first row.
void find_origin(const MomentsArgs& args, const Row& x, float* origin) {
  for (Size c = 0; c < args.channels; ++c) {
    const Size count = args.inner < kLanes ? args.inner : kLanes;
    alignas(64) float buffer[kLanes];
    const float* row = x.read(args.channels == 1 ? 0 : c * args.inner, count, buffer);
    double sum = 0;
    for (Size j = 0; j < count; ++j) sum += static_cast<double>(row[j]);
    const float mean = static_cast<float>(sum / static_cast<double>(count));
    origin[c] = mean - mean == 0.f ? mean : 0.f;
  }
}

SNN_LOOP line_run(SNN_ROW to, const SNN_ROW x, float slope, float start, Size count) {
  for (Size j = 0; j < count; ++j) to[j] += slope * x[j] + start;
}

SNN_LOOP line_channels(SNN_ROW to, const SNN_ROW x, const SNN_ROW slope, const SNN_ROW start, Size count) {
  for (Size j = 0; j < count; ++j) to[j] += slope[j] * x[j] + start[j];
}

}  // namespace

void moments(const MomentsArgs& args, int threads, float* origin, double* sums) {
  const Row x = {const_cast<void*>(args.x), args.dtype, false};
  find_origin(args, x, origin);
  const bool apart = args.inner == 1 && args.channels > 1;
  // Pieces of rows, or groups of rows [channels].
  const Size size = apart ? kRowsAtOnce : 16 * kRun, length = apart ? args.T * args.n / args.channels : args.n;
  const Size pieces = (length + size - 1) / size, rows = apart ? 1 : args.T;
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
#if defined(_OPENMP)
    const int thread = omp_get_thread_num();
#else
    const int thread = 0;
#endif
    const Sums2 own = {sums + thread * 2 * args.channels, sums + (thread * 2 + 1) * args.channels};
#pragma omp for schedule(static) nowait
    for (Size i = 0; i < rows * pieces; ++i) {
      const Size lo = i % pieces * size, end = lo + size < length ? lo + size : length;
      if (apart)
        add_rows(args, x, lo, end, origin, own);
      else
        add_runs(args, x, i / pieces * args.n, lo, end - lo, origin, own);
    }
  }
}

void add_line(const AddLineArgs& args, int threads) {
  const Coefficients channels = {args.line, 1, args.channels, args.inner};
  const float *slope = args.line, *start = args.line + args.channels;
  const Size size = 4 * kRun, pieces = (args.n + size - 1) / size;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (Size i = 0; i < args.T * pieces; ++i) {
    const Size lo = i % pieces * size, m = args.n - lo < size ? args.n - lo : size;
    float* to = args.to + i / pieces * args.n + lo;
    const float* x = args.x + i / pieces * args.n + lo;
    for_channels(channels, lo, m, [&](Size channel, Size j, Size count) {
      if (one_channel_each(channels))
        line_channels(to + j, x + j, slope + channel, start + channel, count);
      else
        line_run(to + j, x + j, slope[channel], start[channel], count);
    });
  }
}

}  // namespace SNN_ISA
}  // namespace snn
