// SPDX-License-Identifier: Apache-2.0
// The transforms of Winograd's F(2x2, 3x3): windows of 4x4 pixels become 16 numbers, 16 products become 2x2 outputs.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace tuyere::cpu {

constexpr int kWinogradPoints = 16;

struct WinogradFunctions {
  int64_t lanes;  // floats of a vector
  /// Windows of `blocks` blocks of `channels` channels: pixel k of block b is at pixels[k] + b * steps[k]; point p goes to to + p * plane.
  void (*input)(const float* const* pixels, const int64_t* steps, int64_t blocks, int64_t channels, float* to, int64_t plane);
  /// Point p of vector v is at from + p * plane + v * lanes; the pixels of a line go side by side to to + v * vector, the second line `line` floats on.
  /// They begin with start[v * lanes], null: with zeros.
  void (*output)(const float* from, int64_t plane, const float* start, int64_t vectors, float* to, int64_t vector, int64_t line);
};
/// For the machine's vectors.
const WinogradFunctions& winograd_functions();

/// The 16 numbers of a window of 3x3 weights.
inline std::array<double, kWinogradPoints> winograd_weights(const std::array<double, 9>& w) {
  std::array<double, 12> half{};
  const auto transform = [](double a, double b, double c, double* to, int64_t step) {
    to[0] = a;
    to[step] = (a + b + c) / 2;
    to[2 * step] = (a - b + c) / 2;
    to[3 * step] = c;
  };
  for (std::size_t j = 0; j < 3; ++j) transform(w[j], w[3 + j], w[6 + j], &half[j], 3);
  std::array<double, kWinogradPoints> points{};
  for (std::size_t i = 0; i < 4; ++i) transform(half[3 * i], half[3 * i + 1], half[3 * i + 2], &points[4 * i], 1);
  return points;
}

}  // namespace tuyere::cpu
