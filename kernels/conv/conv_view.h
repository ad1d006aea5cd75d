// SPDX-License-Identifier: Apache-2.0
// A convolution with its spatial dims brought to three (leading ones of size 1) and its epilogue coordinates joined where memory allows.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "kernels/mma/gemm.h"
#include "kernels/mma/stream.h"

namespace tuyere::conv {

struct View {
  Dim batch;
  std::array<Dim, 3> in, out;  // spatial sizes: depth, height, width
  std::array<int64_t, 3> kernel, stride, pad, dilation;
  bool padded = false;  // some window reaches outside
  bool transposed = false;
  int64_t groups = 1, in_group = 1, out_group = 1;  // channels of x and of the output per group
  DType type = DType::F32;                          // of x and w
  int x_alignment = 256, w_alignment = 256;
  Dim x_batch, x_channel;  // element strides
  std::array<Dim, 3> x_space, w_space;
  Dim w_out, w_in;                                // strides of w's dims 0 and 1
  std::vector<mma::EpilogueTensor> extras, outs;  // strides over `pixels`..., channel
  std::vector<Dim> pixels;                        // sizes of the joined batch and spatial dims
  DType accumulator = DType::F32;
  Program epilogue;

  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  Dim pixel_count() const { return batch * out[0] * out[1] * out[2]; }
  int workspace() const { return 2 + static_cast<int>(extras.size() + outs.size()); }
};

View view(const Problem& problem);
/// Values along the channel, `width` at a time.
mma::Epilogue epilogue(const View& view, int width);
/// Coordinates of tgm_epilogue: the pixel number `pixel` split as `pixels`, then `channel`.
std::string coords(const View& view, mma::KernelParams& params, const std::string& pixel, const std::string& channel);
/// Per spatial dim from `first` on, with the dim's letter (D, H, W): sizes O I K, S(tride), P(ad), D(ilation), and the strides X and W.
void add_spatial_vars(const View& view, mma::KernelParams& params, int first, codegen::Vars& vars);
double traffic(const Problem& problem);

/// How the rows of a product read the image: row r of a dim, tap t at r * stride - pad + t * dilation.
struct Window {
  std::array<int64_t, 3> taps, stride, dilation;  // the dilation may be negative
  std::array<std::string, 3> pad;                 // expressions of the batch coordinates
  std::array<std::string, 3> fewer;               // conditions of theirs: one tap less in this dim
  std::array<Dim, 3> rows;
  bool padded = false;  // some window reaches outside
  bool k_edge = true;   // taps and channels may not fill the last tile
};
/// The text of TgmLoadA, which copies windows to shared memory, and of tgc_take, which splits numbers of taps.
std::string image_loader(const View& view, const Window& window, bool channels_inner);
/// Statements that fill `load.a` for `m` rows and the image's group of channels `group`, from m0 and size_k.
std::string image_setup(const View& view, const Window& window, const std::string& m, const std::string& group, mma::KernelParams& params);

/// Tensor cores or FFMA. transposed: not supported.
mma::KernelSource implicit_gemm_source(const Problem& problem, const Target& target, const mma::Tile& tile);
/// How the weights order k: channels innermost (taps, c), else (c, taps); false when neither is contiguous.
bool weight_order(const View& view, bool* channels_inner);
mma::GemmSize gemm_size(const Problem& problem, const View& view);

/// A transposed convolution with steps S as S ordinary ones, its phases: see conv_phases_gen.cpp. Tensor cores or FFMA.
/// joined: all phases are columns of one product, else each is a product of its own.
mma::KernelSource phases_source(const Problem& problem, const Target& target, const mma::Tile& tile, bool joined);
mma::GemmSize phases_size(const Problem& problem, const View& view, bool joined);

/// A convolution that only mixes channels, over pixels that lie in one row of equal steps: the step, else nothing.
std::optional<Dim> pixel_step(const View& view);
mma::StreamSize stream_size(const Problem& problem, const View& view);
/// pixel_step() must exist.
mma::KernelSource stream_source(const Problem& problem, const Target& target, const mma::StreamShape& shape);

/// columns x rows outputs per thread of `vec` channels (at most 16 bytes of them); at least `blocks` blocks per multiprocessor, which bounds the registers.
struct DepthwiseShape {
  int columns = 1, rows = 1, blocks = 1, vec = 8;
};
/// "columns=4 rows=2 blocks=2 vec=4"; blocks and vec may be missing.
DepthwiseShape parse_depthwise(const Config& config);
/// groups == channels == outputs, channels innermost in x.
mma::KernelSource depthwise_source(const Problem& problem, const Target& target, const DepthwiseShape& shape);
/// Output tiles of (high * rows) x (wide * columns) x `channels` per block; rows x columns outputs of four channels per thread.
struct DepthwiseTile {
  int channels = 32, columns = 4, rows = 1, wide = 4, high = 4;
  int stages = 1;  // 2: blocks stay and copy the next tile while they compute
  int threads() const { return channels / 4 * wide * high; }
};
/// "channels=32 columns=7 rows=2 wide=4 high=4", with " stages=2".
DepthwiseTile parse_depthwise_tile(const Config& config);
/// Beside what depthwise_source() needs.
Support accepts_depthwise_tile(const View& view);
std::vector<Config> depthwise_tile_configs(const Problem& problem, const View& view, const Target& target, int level);
double estimate_depthwise_tile(const Problem& problem, const View& view, const DepthwiseTile& tile, const Target& target);
mma::KernelSource depthwise_tile_source(const Problem& problem, const Target& target, const DepthwiseTile& tile);
/// Every type, layout and attribute: one thread per output element.
mma::KernelSource generic_source(const Problem& problem, const Target& target);

}  // namespace tuyere::conv
