// SPDX-License-Identifier: Apache-2.0
// Bernoulli numbers of PyTorch's CPU generator, many at a time: PyTorch makes them one by one, some 13 ns each. Here PyTorch draws the words that they are
// made of, under the generator's lock, so that threads may draw at once, in a third of the time.
#include <algorithm>
#include <cmath>

#include "py/bindings/direct.h"

namespace tuyere::python {
namespace {

/// PyTorch makes a double in [0, 1) of the lower 53 bits of a word and compares it with the probability. Words as torch.Tensor.random_ gives them to
/// int64: without the uppermost bit.
void compare_words(const uint64_t* words, unsigned char* out, int64_t count, double probability) {
  constexpr uint64_t kMask = (uint64_t{1} << 53) - 1;
  const auto bound = static_cast<uint64_t>(std::ceil(std::ldexp(probability, 53)));
  for (int64_t i = 0; i < count; ++i) out[i] = (words[i] & kMask) < bound;
}

/// The same as torch.Tensor.bernoulli_(probability, generator=generator) on `count` booleans. empty: makes a tensor of int64 on the CPU.
void draw_from(const py::object& empty, const py::object& generator, unsigned char* out, int64_t count, double probability) {
  constexpr int64_t kBlock = 65536;
  for (int64_t start = 0; start < count; start += kBlock) {
    const int64_t size = std::min(kBlock, count - start);
    const py::object words = empty(size);
    words.attr("random_")(py::arg("generator") = generator);
    compare_words(reinterpret_cast<const uint64_t*>(words.attr("data_ptr")().cast<uintptr_t>()), out + start, size, probability);
  }
}

struct Default {
  py::object empty, generator;
};
const Default* defaults = nullptr;  // never given back: engines may run until the process ends

bool draw_from_default(unsigned char* out, int64_t count, double probability) noexcept {
  const py::gil_scoped_acquire gil;
  try {
    draw_from(defaults->empty, defaults->generator, out, count, probability);
    return true;
  } catch (const std::exception&) {
    return false;  // there was no memory: PyTorch's op needs less
  }
}

}  // namespace

void bind_random(py::module_& m) {
  m.def(
      "draw_bernoulli",
      [](const py::object& empty, const py::object& generator, uintptr_t address, int64_t count, double probability) {
        draw_from(empty, generator, reinterpret_cast<unsigned char*>(address), count, probability);
      },
      py::arg("empty"), py::arg("generator"), py::arg("address"), py::arg("count"), py::arg("probability"), "Fills booleans as torch.Tensor.bernoulli_ does.");
  m.def(
      "draw_from_default",
      [](py::object empty, py::object generator) {
        defaults = new Default{std::move(empty), std::move(generator)};
        set_bernoulli_draw(&draw_from_default);
      },
      py::arg("empty"), py::arg("default_generator"), "Engines draw Bernoulli numbers by draw_bernoulli.");
}

}  // namespace tuyere::python
