// Convolutions of spikes in training, of one instruction set: packing, and the gradient of the weight. A tap's gradient
// is a sum over spikes of what stands at the tap's place in the gradient of the output.
#include <cstring>

#include "kernels/detail/event_sums.h"
#include "kernels/detail/event_tile.h"
#include "kernels/detail/isa.h"

namespace snn {
inline namespace SNN_ISA {
namespace {

constexpr Size kMapBytes = Size{384} << 10;  // of gradients: they share the L2 cache with lists
constexpr Size kMostTaps = 3;                // of a direction, whose sums are in registers at once
#if defined(__AVX512F__)
constexpr int kWide = 2;  // vectors of a tap: nine taps leave that many registers
#else
constexpr int kWide = 1;
#endif
constexpr Size kBlock = kWide * kLanes;  // outputs whose sums are in registers

struct Spike {
  std::uint32_t at;  // its place in the maps of some images
  float count;
};

// Four rows of spikes as words; absent rows are zeros. found: as in families.h.
template <int Steps>
SNN_LOOP pack_spikes(const float* x, Size row, std::int32_t* __restrict__ words, Size n, Size* found) {
  std::int32_t there = 0, wrong = 0;
  for (Size i = 0; i < n; ++i) {
    std::uint32_t word = 0;
    for (int t = 0; t < Steps; ++t) {
      const float s = x[t * row + i];
      const std::int32_t count = static_cast<std::int32_t>(s < -128.f ? -128.f : s > 128.f ? 128.f : s);
      there += count != 0;
      wrong += static_cast<float>(count) != s || count > 127 || count < -127;
      word |= (static_cast<std::uint32_t>(count) & 0xffu) << (8 * t);
    }
    words[i] = static_cast<std::int32_t>(word);
  }
  found[0] += there;
  found[1] += wrong;
}

// Sums of Rows x Cols taps over one input's spikes.
template <int Rows, int Cols>
SNN_LOOP add_taps(const float* map, const Spike* spikes, Size count, Size row, Size col, float* weight, Size up,
                  Size left) {
  Vector sum[Rows][Cols][kWide];
  const auto each = [&](auto&& f) {
#pragma GCC unroll 3
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 3
      for (int q = 0; q < Cols; ++q)
#pragma GCC unroll 2
        for (int v = 0; v < kWide; ++v) f(sum[r][q][v], r, q, v * kLanes);
  };
  each([&](Vector& s, int r, int q, int v) { s = vector_at(weight - r * up - q * left + v); });
  for (Size e = 0; e < count; ++e) {
    const float* at = map + static_cast<Size>(spikes[e].at) * kBlock;
    const Vector by = spikes[e].count - Vector{};
    each([&](Vector& s, int r, int q, int v) { s += by * vector_at(at + r * row + q * col + v); });
  }
  each([&](Vector& s, int r, int q, int v) { *reinterpret_cast<Loose*>(weight - r * up - q * left + v) = s; });
}

using AddTaps = void (*)(const float*, const Spike*, Size, Size, Size, float*, Size, Size);
constexpr AddTaps kAddTaps[kMostTaps][kMostTaps] = {{add_taps<1, 1>, add_taps<1, 2>, add_taps<1, 3>},
                                                    {add_taps<2, 1>, add_taps<2, 2>, add_taps<2, 3>},
                                                    {add_taps<3, 1>, add_taps<3, 2>, add_taps<3, 3>}};

// The gradient of the weights of inputs first .. end.
class EventGrad {
 public:
  EventGrad(const EventGradArgs& args, Size first, Size end)
      : args_(args),
        rows_(args.rows),
        cols_(args.cols),
        first_(first),
        inputs_(end - first),
        cells_(rows_.places() * cols_.places()),
        blocks_((args.outputs + kBlock - 1) / kBlock),
        taps_(rows_.kernel * cols_.kernel) {}

  void all() {
    const Size image = args_.steps * cells_ * kBlock * 4;
    Size group = kMapBytes / image;
    group = group < 1 ? 1 : group > args_.images ? args_.images : group;
    room_ = group * args_.steps * rows_.size * cols_.size;
    const Size map = whole_lines(group * image), spikes = whole_lines(inputs_ * room_ * sizeof(Spike));
    const Size counts = whole_lines(inputs_ * sizeof(Size)), scratch = whole_lines(8 * (inputs_ + kSpare));
    const Size weights = whole_lines(4 * blocks_ * inputs_ * taps_ * kBlock);
    char* at = event_scratch(map + spikes + counts + scratch + weights);
    const auto take = [&](Size size) { return (at += size) - size; };
    map_ = reinterpret_cast<float*>(take(map));
    weights_ = reinterpret_cast<float*>(take(weights));
    spikes_ = reinterpret_cast<Spike*>(take(spikes));
    counts_ = reinterpret_cast<Size*>(take(counts));
    scratch_ = reinterpret_cast<std::int32_t*>(take(scratch));
    std::memset(map_, 0, map);
    std::memset(weights_, 0, weights);
    for (Size i = 0; i < args_.images; i += group) {
      const Size end = i + group < args_.images ? i + group : args_.images;
      list(i, end);
      for (Size b = 0; b < blocks_; ++b) {
        lay(i, end, b * kBlock);
        add(weights_ + b * inputs_ * taps_ * kBlock);
      }
    }
    store();
  }

 private:
  // The spikes of each input in images first .. end.
  void list(Size first, Size end) {
    for (Size c = 0; c < inputs_; ++c) counts_[c] = 0;
    auto* channels = reinterpret_cast<std::uint32_t*>(scratch_);
    std::int32_t* found = scratch_ + inputs_ + kSpare;
    const std::int32_t* words = args_.words + first * rows_.size * cols_.size * args_.inputs + first_;
    for (Size image = 0; image < end - first; ++image)
      for (Size y = 0; y < rows_.size; ++y)
        for (Size x = 0; x < cols_.size; ++x, words += args_.inputs) {
          const Size n = compact<4>(words, nullptr, inputs_, 0, channels, found);
          const Size place = image * args_.steps * cells_ + y * cols_.places() + x;
          for (Size i = 0; i < n; ++i) push(channels[i], static_cast<std::uint32_t>(found[i]), place);
        }
  }

  void push(Size channel, std::uint32_t word, Size place) {
    Spike* to = spikes_ + channel * room_ + counts_[channel];
    for (; word; word >>= 8, place += cells_) {
      const auto count = static_cast<std::int8_t>(word & 0xffu);
      if (count) *to++ = {static_cast<std::uint32_t>(place), static_cast<float>(count)};
    }
    counts_[channel] = to - (spikes_ + channel * room_);
  }

  // The gradients of kBlock outputs from `output` on of images first .. end, at their places in the maps.
  void lay(Size first, Size end, Size output) {
    const Size count = args_.outputs - output < kBlock ? args_.outputs - output : kBlock;
    for (Size image = first; image < end; ++image)
      for (Size t = 0; t < args_.steps; ++t) {
        float* map = map_ + ((image - first) * args_.steps + t) * cells_ * kBlock;
        const float* from = args_.grad + (t * args_.images + image) * rows_.out * cols_.out * args_.outputs + output;
        for (Size y = 0; y < rows_.out; ++y)
          for (Size x = 0; x < cols_.out; ++x, from += args_.outputs) {
            const Size row = rows_.of_output(y), col = cols_.of_output(x);
            if (row < 0 || row >= rows_.places() || col < 0 || col >= cols_.places()) continue;
            float* to = map + (row * cols_.places() + col) * kBlock;
            if (count == kBlock) {
              std::memcpy(to, from, kBlock * 4);
            } else {
              for (Size i = 0; i < kBlock; ++i) to[i] = i < count ? from[i] : 0.f;
            }
          }
      }
  }

  // The spikes times the gradients in the maps, to weights [inputs, taps, kBlock].
  void add(float* weights) const {
    const Size row = rows_.dilation * cols_.places() * kBlock, col = cols_.dilation * kBlock;
    for (Size c = 0; c < inputs_; ++c) {
      if (!counts_[c]) continue;
      // Tap kernel - 1 stands at place 0.
      float* last = weights + ((c + 1) * taps_ - 1) * kBlock;
      for (Size r = 0; r < rows_.kernel; r += kMostTaps)
        for (Size q = 0; q < cols_.kernel; q += kMostTaps) {
          const Size more = rows_.kernel - r < kMostTaps ? rows_.kernel - r : kMostTaps;
          const Size wide = cols_.kernel - q < kMostTaps ? cols_.kernel - q : kMostTaps;
          const Size up = cols_.kernel * kBlock;
          kAddTaps[more - 1][wide - 1](map_ + r * row + q * col, spikes_ + c * room_, counts_[c], row, col,
                                       last - r * up - q * kBlock, up, kBlock);
        }
    }
  }

  void store() const {
    for (Size c = 0; c < inputs_ * taps_; ++c) {
      float* to = args_.weight + (first_ * taps_ + c) * args_.outputs;
      for (Size b = 0; b < blocks_; ++b) {
        const float* from = weights_ + (b * inputs_ * taps_ + c) * kBlock;
        const Size count = args_.outputs - b * kBlock < kBlock ? args_.outputs - b * kBlock : kBlock;
        for (Size i = 0; i < count; ++i) to[b * kBlock + i] = from[i];
      }
    }
  }

  const EventGradArgs& args_;
  const EventWindow &rows_, &cols_;
  Size first_, inputs_, cells_, blocks_, taps_, room_ = 0;
  float *map_ = nullptr, *weights_ = nullptr;
  Spike* spikes_ = nullptr;
  Size* counts_ = nullptr;
  std::int32_t* scratch_ = nullptr;
};

}  // namespace

void event_pack(const EventPackArgs& args, std::int64_t first, std::int64_t end, std::int64_t* found) {
  constexpr Size kPiece = 65536;  // what 32 bits count
  const auto pack = args.steps == 4 ? pack_spikes<4> : args.steps == 2 ? pack_spikes<2> : pack_spikes<1>;
  for (Size i = first; i < end; i += kPiece)
    pack(args.x + i, args.n, args.words + i, end - i < kPiece ? end - i : kPiece, found);
}

void event_grad(const EventGradArgs& args, std::int64_t first, std::int64_t end) {
  if (first < end) EventGrad(args, first, end).all();
}

}  // namespace SNN_ISA
}  // namespace snn
