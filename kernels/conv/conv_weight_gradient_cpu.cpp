// SPDX-License-Identifier: Apache-2.0
// own.conv_weight_gradient.windows: dw[o, c, k] = sum over pixels p of dy[p, o] x[p * stride + k, c], f32. The sums of 128 pixels are made in registers and
// added to those in memory, so that no chain of additions is long. Channels lie side by side, and those of all taps along a line of a window, too.
#include <cstring>

#include "kernels/conv/conv_gradient_tiles.h"
#include "kernels/conv/conv_image.h"
#include "kernels/conv/conv_kernels.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/strided_copy.h"

namespace tuyere::cpu {
namespace {

constexpr int64_t kChunk = 128;              // pixels of a sum in registers, at most
constexpr int64_t kGroupChunks = 16;         // of a group of pixels that has sums of its own, at least
constexpr int64_t kMostGroups = 16;          // they are added up last
constexpr int64_t kGroupBytes = 4096 << 10;  // of the sums of all groups, where there are several
constexpr int64_t kVectors = 2;              // of output channels, held at once

int64_t whole(int64_t size, int64_t part) { return (size + part - 1) / part; }

/// Memory in the workspace, in lines of the cache.
struct Booked {
  int64_t bytes = 0;
  int64_t add(int64_t floats) {
    const int64_t at = bytes;
    bytes += whole(floats, 16) * 64;
    return at;
  }
};

/// An image as the loops read it: in place, or a copy with channels side by side and zeros around it.
struct Place {
  Image image;     // its strides
  int64_t at = 0;  // of the copy in the workspace
  bool copied = false;
  int64_t floats = 0, from = 0, to = 0;  // of the copy; where the first value that is copied lies in both
  StridedCopy copy;

  /// What is read begins `before` pixels ahead of the image and has `reach` pixels.
  Place(const View& v, int spatial, const Space& before, const Space& reach, Booked& booked) : image(v, spatial) {
    copied = image.channel != 1 || image.space[2] != image.channels;
    for (size_t d = 0; d < kSpace; ++d) copied |= before[d] != 0 || reach[d] > image.size[d];
    if (!copied) return;
    int64_t stride = image.channels;
    for (size_t d = kSpace; d-- > 0; stride *= reach[d]) image.space[d] = stride;
    image.batch = stride;
    image.channel = 1;
    floats = stride * image.count;
    at = booked.add(floats);
    View source = v, target = v;
    target.strides[0] = image.batch;
    target.strides[1] = 1;
    for (int d = 2; d < v.rank; ++d) {
      const auto k = static_cast<size_t>(kSpace - v.rank + d);
      const int64_t first = std::max<int64_t>(0, -before[k]);
      source.shape[d] = target.shape[d] = std::max<int64_t>(0, std::min(image.size[k], reach[k] - before[k]) - first);
      target.strides[d] = image.space[k];
      to += (before[k] + first) * image.space[k];
      from += first * v.strides[d];
    }
    copy = StridedCopy(target, source, sizeof(float));
    zeros = floats > target.numel();
  }

  const float* ready(const void* data, char* workspace) const {
    const auto* here = static_cast<const float*>(data);
    if (!copied) return here;
    auto* there = reinterpret_cast<float*>(workspace + at);
    if (zeros) std::memset(there, 0, static_cast<size_t>(floats) * sizeof(float));
    copy.run(there + to, here + from);
    return there;
  }

 private:
  bool zeros = false;  // around what is copied
};

class WindowGradient {
 public:
  explicit WindowGradient(const CpuProblem& p)
      : spatial_(static_cast<int>(attrs<ConvWeightGradient>(p).kernel.size())),
        dw_(p.args.out[0]),
        window_(conv_of(attrs<ConvWeightGradient>(p)), dw_),
        dy_(View(p.args.in[0]), spatial_, {}, Image(View(p.args.in[0]), spatial_).size, booked_),
        x_(View(p.args.in[1]), spatial_, window_.before, reach(), booked_),
        slot_(p.workspace_slot()) {
    plan_tiles();
    plan_sums();
  }

  int64_t workspace_bytes() const { return booked_.bytes; }

  void operator()(void* const* ptr) const {
    char* memory = static_cast<char*>(ptr[slot_]);
    const float *dy = dy_.ready(ptr[0], memory), *x = x_.ready(ptr[1], memory);
    auto* sums = reinterpret_cast<float*>(memory + sums_at_);
    parallel_ranges(threads_, groups_ * blocks_, [&](int, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) add_up(dy, x, i / blocks_, i % blocks_, sums + i * block_floats());
    });
    parallel_ranges(threads_, blocks_, [&](int, int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) store(sums + block * block_floats(), block, static_cast<float*>(ptr[2]));
    });
  }

 private:
  /// Neighbouring taps whose sums are made at once. Taps are numbered by window position, then channel.
  struct Tile {
    int64_t offset, first, taps;  // of the first tap: from a window's corner, and its number
  };
  /// Channels of the output whose sums are made at once.
  struct Block {
    int64_t first, channels, vectors, last;  // the last vector's channels
  };

  static Conv conv_of(const ConvWeightGradient& g) { return Conv{.stride = g.stride, .pad_before = g.pad_before, .dilation = g.dilation}; }
  int64_t positions() const { return window_.taps(); }
  int64_t taps() const { return positions() * x_.image.channels; }

  /// Pixels that windows reach.
  Space reach() const {
    Space r;
    for (size_t d = 0; d < kSpace; ++d) r[d] = (dy_.image.size[d] - 1) * window_.stride[d] + (window_.kernel[d] - 1) * window_.dilation[d] + 1;
    return r;
  }

  void plan_tiles() {
    const Space& kernel = window_.kernel;
    const bool lines = window_.dilation[2] == 1;
    const int64_t run = x_.image.channels * (lines ? kernel[2] : 1), tiles = whole(run, f_.taps), runs = taps() / run;
    for (int64_t i = 0; i < runs; ++i) {
      const int64_t at = i * run / x_.image.channels;
      const Space k{at / kernel[2] / kernel[1], at / kernel[2] % kernel[1], at % kernel[2]};
      int64_t corner = 0;
      for (size_t d = 0; d < kSpace; ++d) corner += k[d] * window_.dilation[d] * x_.image.space[d];
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t begin = run * t / tiles;
        tiles_.push_back({corner + begin, i * run + begin, run * (t + 1) / tiles - begin});
      }
    }
  }

  void plan_sums() {
    const Image &dy = dy_.image, &x = x_.image;
    Ix moves{x.batch};
    for (size_t d = 0; d < kSpace; ++d) moves[d + 1] = window_.stride[d] * x.space[d];
    pixels_ = make_nest(4, {dy.count, dy.size[0], dy.size[1], dy.size[2]}, {Ix{dy.batch, dy.space[0], dy.space[1], dy.space[2]}, moves});
    if (pixels_.rank == 0) pixels_.rank = 1, pixels_.shape[0] = 1;
    count_ = pixels_.numel();
    chunks_ = whole(count_, kChunk);
    blocks_ = whole(dy.channels, kVectors * f_.lanes);
    const int64_t all = blocks_ * block_floats();
    groups_ = std::clamp<int64_t>(std::min(chunks_ / kGroupChunks, kGroupBytes / (4 * all)), 1, kMostGroups);
    threads_ = static_cast<int>(std::min<int64_t>(threads_for(count_ * dy.channels * taps() / f_.lanes), groups_ * blocks_));
    sums_at_ = booked_.add(groups_ * all);
  }
  int64_t block_floats() const { return kVectors * f_.lanes * taps(); }
  Block block_at(int64_t block) const {
    const int64_t first = block * kVectors * f_.lanes, channels = std::min(kVectors * f_.lanes, dy_.image.channels - first);
    const int64_t vectors = whole(channels, f_.lanes);
    return {first, channels, vectors, channels - (vectors - 1) * f_.lanes};
  }

  /// The sums of a group of pixels, [vector][tap][lane].
  void add_up(const float* dy, const float* x, int64_t group, int64_t block, float* sums) const {
    const Block b = block_at(block);
    const int line = pixels_.rank - 1;
    std::array<GradientLine, kChunk> lines;
    GradientTile tile{x, dy + b.first, pixels_.strides[1][line], pixels_.strides[0][line], lines.data(), 0, sums, taps() * f_.lanes, b.last, false};
    for (int64_t chunk = chunks_ * group / groups_; chunk < chunks_ * (group + 1) / groups_; ++chunk, tile.adds = true) {
      tile.count = lines_of(count_ * chunk / chunks_, count_ * (chunk + 1) / chunks_, lines.data());
      for (const Tile& t : tiles_) {
        tile.x = x + t.offset;
        tile.sums = sums + t.first * f_.lanes;
        f_.add(tile, b.vectors, t.taps);
      }
    }
  }
  /// Pixels begin to end.
  int64_t lines_of(int64_t begin, int64_t end, GradientLine* to) const {
    const int line = pixels_.rank - 1;
    const int64_t length = pixels_.shape[line];
    NestWalk walk(pixels_, line, begin / length);
    int64_t count = 0;
    for (int64_t at = begin; at < end; walk.next(), ++count) {
      const int64_t first = at % length, pixels = std::min(length - first, end - at);
      to[count] = {walk.offset(1) + first * pixels_.strides[1][line], walk.offset(0) + first * pixels_.strides[0][line], pixels};
      at += pixels;
    }
    return count;
  }

  /// Adds the groups' sums of a block up and writes them: some channels at a time, whose sums stay in the first cache while rows of the weight are written.
  void store(float* sums, int64_t block, float* dw) const {
    for (int64_t g = 1; g < groups_; ++g) {
      const float* more = sums + g * blocks_ * block_floats();
      for (int64_t i = 0; i < block_floats(); ++i) sums[i] += more[i];
    }
    const Block b = block_at(block);
    const int64_t channels = x_.image.channels, most = std::max<int64_t>(1, 128 / positions());
    for (int64_t first = 0; first < channels; first += most) {
      for (int64_t o = 0; o < b.channels; ++o) {
        const float* from = sums + (o / f_.lanes * taps() + first) * f_.lanes + o % f_.lanes;
        store_row(from, std::min(most, channels - first), dw + (b.first + o) * dw_.strides[0] + first * dw_.strides[1]);
      }
    }
  }
  void store_row(const float* from, int64_t channels, float* to) const {
    Odometer at{spatial_, {}, {}};
    for (int d = 0; d < spatial_; ++d) at.shape[d] = dw_.shape[2 + d];
    for (int64_t k = 0; k < positions(); ++k, at.next()) {
      int64_t offset = 0;
      for (int d = 0; d < spatial_; ++d) offset += at.index[d] * dw_.strides[2 + d];
      for (int64_t c = 0; c < channels; ++c) to[offset + c * dw_.strides[1]] = from[(k * x_.image.channels + c) * f_.lanes];
    }
  }

  const GradientFunctions& f_ = gradient_functions();
  Booked booked_;
  int spatial_;
  View dw_;
  Window window_;
  Place dy_, x_;
  int slot_;
  std::vector<Tile> tiles_;
  LoopNest pixels_;  // offsets into dy, and of windows into x
  int64_t count_ = 0, chunks_ = 0, groups_ = 1, blocks_ = 1, sums_at_ = 0;
  int threads_ = 1;
};

bool nothing_to_add(const CpuProblem& p) { return p.args.in[0].numel() == 0 || p.args.in[1].numel() == 0 || p.args.out[0].numel() == 0; }

std::unique_ptr<Executable> prepare_window_gradient(const CpuProblem& p) {
  if (nothing_to_add(p)) return prepare_kernel("reference.conv_weight_gradient", p);
  return executable(WindowGradient(p));
}

int64_t workspace_window_gradient(const CpuProblem& p) { return nothing_to_add(p) ? 0 : WindowGradient(p).workspace_bytes(); }

}  // namespace

void add_conv_weight_gradient_kernels(CpuKernelTable& table) {
  table.push_back({"own.conv_weight_gradient.windows", prepare_window_gradient, workspace_window_gradient});
}

}  // namespace tuyere::cpu
