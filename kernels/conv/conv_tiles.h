// SPDX-License-Identifier: Apache-2.0
// The inner loops of own.conv.direct: products of a few neighbouring pixels with a few vectors of output channels, whose f32 sums are held in registers.
#pragma once
#include <cstdint>

namespace tuyere::cpu {

/// What becomes of finished sums on their way to memory.
enum class ConvEnd : uint8_t { none, relu, clamp, hardswish, silu };

/// A piece of the sums of `pixels` neighbouring outputs and some vectors of output channels. T: float, or uint16_t for bf16.
template <class T>
struct ConvTileOf {
  const T* x;
  int64_t pixel;            // from one output's input to the next one's
  const int64_t* segments;  // offsets into x of runs of input channels
  int64_t count, channels;  // number of the runs, and their length
  const T* w;               // [segments][channels][vectors * lanes]; depthwise: [segments][lanes]; bf16: [segments][channels / 2][vectors * lanes][2]
  float* sums;              // [vectors][...][lanes]
  int64_t vector;           // floats from one vector's sums to the next one's
  const float* start;       // what the sums begin with, [vectors * lanes]; null: they go on from what they hold
  const T* ahead;           // dense: memory that is needed soon is fetched from here,
  int64_t ahead_step;       // so many elements for every input channel of the piece (bf16: every two); 0: there is none to fetch
  ConvEnd end = ConvEnd::none;
  float low = 0, high = 0;                // of clamp
  bool rough = false;                     // results of 16 bits: SiLU need not be exact
  void* out = nullptr;                    // where finished sums go; null: they stay in `sums`
  bool out_short = false;                 // as bf16
  int64_t out_pixel = 0, out_vector = 0;  // elements from one output, and from one vector, to the next one
  int64_t last = 0;                       // channels of the last vector
  const void* residual = nullptr;         // what is added before the function: of the output's type and strides, or null
};
using ConvTile = ConvTileOf<float>;
using ShortConvTile = ConvTileOf<uint16_t>;

struct ConvFunctions {
  int64_t lanes, pixels;  // floats of a vector; the largest tile
  /// vectors: 1 or 2; pixels: 1 to the largest.
  void (*dense)(const ConvTile& tile, int64_t vectors, int64_t pixels);
  /// The same with products of bf16 pairs: even numbers of channels. Null where the machine has no instruction for them.
  void (*dense_short)(const ShortConvTile& tile, int64_t vectors, int64_t pixels);
  /// Output channel c reads input channel c only; a segment is one position, its channels lie at the lanes.
  void (*depthwise)(const ConvTile& tile, int64_t pixels);
  /// A vector of every pixel, `pixel` floats apart, to dense memory.
  void (*copy)(const float* x, int64_t pixel, float* to, int64_t pixels);
  void (*copy_short)(const uint16_t* x, int64_t pixel, float* to, int64_t pixels);  // of bf16
};
/// For the machine's vectors.
const ConvFunctions& conv_functions();

}  // namespace tuyere::cpu
