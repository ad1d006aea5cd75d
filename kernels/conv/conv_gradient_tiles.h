// SPDX-License-Identifier: Apache-2.0
// The inner loops of own.conv_weight_gradient.windows: sums over pixels of a few neighbouring values of x times a few vectors of gradients.
#pragma once
#include <cstdint>

namespace tuyere::cpu {

/// Pixels along a line of the output.
struct GradientLine {
  int64_t x, dy, pixels;  // offsets of the first pixel's window and gradients; their number
};

struct GradientTile {
  const float* x;
  const float* dy;
  int64_t x_pixel, dy_pixel;  // from one pixel to the next one
  const GradientLine* lines;
  int64_t count;   // of lines
  float* sums;     // [vectors][...][lanes]
  int64_t vector;  // floats from one vector's sums to the next one's
  int64_t last;    // channels of the last vector
  bool adds;       // to what `sums` holds; otherwise they begin
};

struct GradientFunctions {
  int64_t lanes, taps;  // floats of a vector; the largest tile
  /// vectors: 1 or 2; taps, side by side in x: 1 to the largest.
  void (*add)(const GradientTile& tile, int64_t vectors, int64_t taps);
};
/// For the machine's vectors.
const GradientFunctions& gradient_functions();

}  // namespace tuyere::cpu
