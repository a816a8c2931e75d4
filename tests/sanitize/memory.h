// Arrays that end, or begin, at a page that nobody may touch: an access beyond them stops the program, by whatever
// instruction it is made. AddressSanitizer guards the other side of an array, within its page, as well.
#pragma once

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <vector>

namespace check {

using Size = std::int64_t;

// Draws everything from one seed.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : engine_(seed) {}
  Size whole(Size least, Size most) { return std::uniform_int_distribution<Size>(least, most)(engine_); }
  bool chance(double p) { return number(0, 1) < p; }
  float number(double low, double high) {
    return static_cast<float>(std::uniform_real_distribution<double>(low, high)(engine_));
  }
  template <class T>
  T of(const std::vector<T>& choices) {
    return choices[whole(0, static_cast<Size>(choices.size()) - 1)];
  }

 private:
  std::mt19937_64 engine_;
};

class Array {
 public:
  // At the end of its pages, or at their beginning.
  Array(Size bytes, bool at_end) : bytes_(bytes) {
    const Size page = sysconf(_SC_PAGESIZE), whole = (bytes + page - 1) / page * page;
    mapped_ = whole + 2 * page;
    base_ = static_cast<char*>(mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED || mprotect(base_ + page, whole, PROT_READ | PROT_WRITE)) throw std::bad_alloc();
    char *first = base_ + page, *last = first + whole;
    at_ = at_end ? last - bytes : first;
    ASAN_POISON_MEMORY_REGION(first, at_ - first);
    ASAN_POISON_MEMORY_REGION(end(), last - end());
  }
  ~Array() {
    ASAN_UNPOISON_MEMORY_REGION(base_, mapped_);
    munmap(base_, mapped_);
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(at_);
  }
  char* begin() const { return at_; }
  char* end() const { return at_ + bytes_; }
  void fill(int byte) const { std::memset(at_, byte, bytes_); }

 private:
  Size bytes_, mapped_;
  char *base_, *at_;
};

// The arrays of a case, which live as long as it.
class Memory {
 public:
  explicit Memory(Draw& draw) : draw_(draw) {}

  Array& bytes(Size count) {
    arrays_.push_back(std::make_unique<Array>(count, draw_.chance(0.7)));
    return *arrays_.back();
  }
  // float32 numbers in low..high, tenths for the most part: potentials then meet thresholds exactly.
  float* floats(Size count, double low = -1, double high = 2) {
    float* to = bytes(4 * count).as<float>();
    const bool tenths = draw_.chance(0.7);
    for (Size i = 0; i < count; ++i) {
      const float drawn = draw_.number(low, high);
      to[i] = tenths ? static_cast<float>(static_cast<int>(drawn * 10)) / 10 : drawn;
    }
    return to;
  }
  // As floats, or halves of both signs between 1/4 and 2 (as bfloat16: from 2^-64 on).
  void* numbers(Size count, bool halves) {
    if (!halves) return floats(count);
    std::uint16_t* to = bytes(2 * count).as<std::uint16_t>();
    for (Size i = 0; i < count; ++i)
      to[i] = static_cast<std::uint16_t>(draw_.whole(0, 1) << 15 | draw_.whole(0x3400, 0x3fff));
    return to;
  }
  // What a kernel writes: compared after each call.
  template <class T>
  T* written(Size count) {
    Array& array = bytes(count * static_cast<Size>(sizeof(T)));
    outputs.push_back(&array);
    return array.as<T>();
  }
  void* written_as(Size count, bool halves) { return written<char>(count * (halves ? 2 : 4)); }

  std::vector<Array*> outputs;

 private:
  Draw& draw_;
  std::vector<std::unique_ptr<Array>> arrays_;
};

}  // namespace check
