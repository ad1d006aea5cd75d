// SPDX-License-Identifier: Apache-2.0
// The inner loops of own.conv.direct: f32 products of a few neighbouring pixels with a few vectors of output channels, held in registers.
#pragma once
#include <cstdint>

namespace tuyere::cpu {

/// What becomes of finished sums on their way to memory.
enum class ConvEnd : uint8_t { none, relu, clamp, hardswish };

/// A piece of the sums of `pixels` neighbouring outputs and some vectors of output channels.
struct ConvTile {
  const float* x;
  int64_t pixel;            // from one output's input to the next one's
  const int64_t* segments;  // offsets into x of runs of input channels
  int64_t count, channels;  // number of the runs, and their length
  const float* w;           // [segments][channels][vectors * lanes]; depthwise: [segments][lanes]
  float* sums;              // [vectors][...][lanes]
  int64_t vector;           // floats from one vector's sums to the next one's
  const float* start;       // what the sums begin with, [vectors * lanes]; null: they go on from what they hold
  const float* ahead;       // dense: memory that is needed soon is fetched from here,
  int64_t ahead_step;       // so many floats for every input channel of the piece; 0: there is none to fetch
  ConvEnd end = ConvEnd::none;
  float low = 0, high = 0;  // of clamp
};

struct ConvFunctions {
  int64_t lanes, pixels;  // floats of a vector; the largest tile
  /// vectors: 1 or 2; pixels: 1 to the largest.
  void (*dense)(const ConvTile& tile, int64_t vectors, int64_t pixels);
  /// Output channel c reads input channel c only; a segment is one position, its channels lie at the lanes.
  void (*depthwise)(const ConvTile& tile, int64_t pixels);
  /// A vector of every pixel, `pixel` floats apart, to dense memory.
  void (*copy)(const float* x, int64_t pixel, float* to, int64_t pixels);
};
/// For the machine's vectors.
const ConvFunctions& conv_functions();

}  // namespace tuyere::cpu
