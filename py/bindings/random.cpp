// SPDX-License-Identifier: Apache-2.0
// Bernoulli numbers of PyTorch's CPU generator, many at a time: PyTorch takes them from its Mersenne Twister one by one, some 13 ns each. The state is read
// from the generator and given back, so that who draws next goes on from there.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "py/bindings/direct.h"

namespace tuyere::python {
namespace {

/// The words of MT19937 (Matsumoto and Nishimura, 1998).
class MersenneTwister {
 public:
  static constexpr int kWords = 624;

  /// What torch.Generator.get_state() gives begins with this.
  struct State {
    uint64_t seed;
    int32_t left, seeded;  // left: 1 when the next word needs new ones
    uint64_t next;
    uint64_t words[kWords];
  };

  explicit MersenneTwister(const State& state) : left_(state.left), next_(static_cast<int>(state.next)) {
    std::copy(std::begin(state.words), std::end(state.words), words_.begin());
  }

  void write_to(State& state) const {
    state.left = left_;
    state.next = static_cast<uint64_t>(next_);
    std::copy(words_.begin(), words_.end(), std::begin(state.words));
  }

  void draw(uint32_t* out, int count) {
    while (count > 0) {
      if (left_ == 1) renew();
      const int now = std::min(count, left_ - 1);
      for (int i = 0; i < now; ++i) out[i] = temper(words_[next_ + i]);
      next_ += now;
      left_ -= now;
      out += now;
      count -= now;
    }
  }

 private:
  static uint32_t temper(uint32_t y) {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
  }
  static uint32_t twist(uint32_t u, uint32_t v) { return (((u & 0x80000000u) | (v & 0x7fffffffu)) >> 1) ^ (-(v & 1u) & 0x9908b0dfu); }

  void renew() {
    constexpr int kShift = 397;
    uint32_t* w = words_.data();
    for (int i = 0; i < kWords - kShift; ++i) w[i] = w[i + kShift] ^ twist(w[i], w[i + 1]);
    for (int i = kWords - kShift; i < kWords - 1; ++i) w[i] = w[i + kShift - kWords] ^ twist(w[i], w[i + 1]);
    w[kWords - 1] = w[kShift - 1] ^ twist(w[kWords - 1], w[0]);
    next_ = 0;
    left_ = kWords + 1;  // all of them, and one that says that there are no more
  }

  int left_, next_;
  std::array<uint32_t, kWords> words_;
};

/// PyTorch makes a double in [0, 1) of 53 bits of two words, the first being the upper one, and compares it with the probability.
void draw_bernoulli(MersenneTwister& twister, unsigned char* out, int64_t count, double probability) {
  constexpr int64_t kBlock = 1024;
  constexpr uint64_t kMask = (uint64_t{1} << 53) - 1;
  const auto bound = static_cast<uint64_t>(std::ceil(std::ldexp(probability, 53)));
  std::array<uint32_t, 2 * kBlock> words;
  for (int64_t start = 0; start < count; start += kBlock) {
    const int64_t size = std::min(kBlock, count - start);
    twister.draw(words.data(), static_cast<int>(2 * size));
    for (int64_t i = 0; i < size; ++i) out[start + i] = ((uint64_t{words[2 * i]} << 32 | words[2 * i + 1]) & kMask) < bound;
  }
}

/// The same as torch.Tensor.bernoulli_(probability, generator=generator) on `count` booleans.
void draw_from(const py::object& generator, unsigned char* out, int64_t count, double probability) {
  const py::object state = generator.attr("get_state")();
  if (state.attr("nbytes").cast<size_t>() < sizeof(MersenneTwister::State)) throw std::runtime_error("a generator whose state has another form");
  auto* bytes = reinterpret_cast<void*>(state.attr("data_ptr")().cast<uintptr_t>());
  MersenneTwister::State words;
  std::memcpy(&words, bytes, sizeof words);
  const uint64_t left = static_cast<uint64_t>(words.left);
  if (left < 1 || left > MersenneTwister::kWords || words.next > MersenneTwister::kWords - (left - 1))
    throw std::runtime_error("a generator whose state has another form");
  MersenneTwister twister(words);
  draw_bernoulli(twister, out, count, probability);
  twister.write_to(words);
  std::memcpy(bytes, &words, sizeof words);
  generator.attr("set_state")(state);
}

PyObject* default_generator = nullptr;  // never given back: engines may run until the process ends

bool draw_from_default(unsigned char* out, int64_t count, double probability) noexcept {
  const py::gil_scoped_acquire gil;
  try {
    draw_from(py::reinterpret_borrow<py::object>(default_generator), out, count, probability);
    return true;
  } catch (const std::exception&) {
    return false;  // the generator is as it was
  }
}

}  // namespace

void bind_random(py::module_& m) {
  m.def(
      "draw_bernoulli",
      [](const py::object& generator, uintptr_t address, int64_t count, double probability) {
        draw_from(generator, reinterpret_cast<unsigned char*>(address), count, probability);
      },
      py::arg("generator"), py::arg("address"), py::arg("count"), py::arg("probability"), "Fills booleans as torch.Tensor.bernoulli_ does.");
  m.def(
      "draw_from_default",
      [](py::object generator) {
        default_generator = generator.release().ptr();
        set_bernoulli_draw(&draw_from_default);
      },
      py::arg("default_generator"), "Engines draw Bernoulli numbers by draw_bernoulli.");
}

}  // namespace tuyere::python
