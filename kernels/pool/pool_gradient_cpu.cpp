// SPDX-License-Identifier: Apache-2.0
// own.pool_gradient.windows: an image, or a block of its channels where they are dense, is summed up in f32 in the cache.
#include <optional>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/pointwise/tile_convert.h"
#include "kernels/pool/pool_windows.h"

namespace tuyere::cpu {
namespace {

constexpr int64_t kBlock = 64;  // channels that go together

/// The distance of neighbours in the row-major order of the last `spatial` dims, or nothing when it is not one.
std::optional<int64_t> pixel_stride(const View& v, int spatial) {
  int64_t stride = 0, reach = 0;
  for (int d = v.rank - 1; d >= v.rank - spatial; --d) {
    if (v.shape[d] == 1) continue;
    if (stride == 0) stride = reach = v.strides[d];
    if (v.strides[d] != reach) return std::nullopt;
    reach *= v.shape[d];
  }
  return stride == 0 ? 1 : stride;
}

class WindowPoolGradient {
 public:
  struct Image {
    View view;
    int slot;
    int64_t pixel;
  };

  WindowPoolGradient(const PoolGradient& op, const CpuProblem& p, std::vector<Image> images)
      : max_(op.kind == PoolKind::max), images_(std::move(images)), windows_(windows_of(op, dx().view, dy().view)) {
    const int spatial = static_cast<int>(op.size.size()), lead = dx().view.rank - spatial;
    channel_ = lead - 1;
    const auto dense = [&](const Image& i) { return i.view.strides[channel_] == 1; };
    block_ = dense(dx()) && dense(dy()) ? std::min(kBlock, dx().view.shape[channel_]) : 1;
    blocks_ = (dx().view.shape[channel_] + block_ - 1) / block_;
    View outer = dx().view;
    for (int d = channel_; d < outer.rank; ++d) outer.shape[d] = d == channel_ ? blocks_ : 1;
    tasks_ = {lead, outer.shape, {}};
    count_ = product(lead, outer.shape);
    pixels_ = positions_ = 1;
    for (int d = lead; d < dx().view.rank; ++d) {
      pixels_ *= dx().view.shape[d];
      positions_ *= dy().view.shape[d];
    }
    list_windows(lead, spatial);
    threads_ = static_cast<int>(std::min<int64_t>(threads_for(p.args.out[0].numel() * 2), std::max<int64_t>(1, count_)));
    buffers_.resize(static_cast<size_t>(threads_));
    for (Buffer& b : buffers_) {
      b.dx.resize(static_cast<size_t>(pixels_ * block_));
      b.dy.resize(static_cast<size_t>(positions_ * block_));
    }
    load_ = tile_load(dy().view.dtype, DType::F32);
    store_ = tile_store(DType::F32, dx().view.dtype);
  }

  void operator()(void* const* ptr) {
    parallel_ranges(threads_, count_, [&](int thread, int64_t begin, int64_t end) {
      Odometer at = tasks_;
      at.seek(begin);
      for (int64_t t = begin; t < end; ++t, at.next()) run(ptr, buffers_[static_cast<size_t>(thread)], at.index);
    });
  }

 private:
  struct Buffer {
    std::vector<float> dx, dy;  // [pixels, channels of the block]
  };
  struct Window {  // the pixels that make one position
    int64_t first, count;
    float share;
  };

  const Image& dx() const { return images_[0]; }
  const Image& dy() const { return images_[1]; }

  // The pixels of every position's window, one after the other.
  void list_windows(int lead, int spatial) {
    if (max_) return;
    Ix positions{};
    for (int d = 0; d < spatial; ++d) positions[d] = dy().view.shape[lead + d];
    for_each_index(spatial, positions, [&](const Ix& o) {
      Ix counts{};
      double divisor = 1;
      for (int d = 0; d < spatial; ++d) {
        const Windows::Entry& e = entry(d, o[d]);
        counts[d] = e.count;
        divisor *= e.share;
      }
      const auto first = static_cast<int64_t>(taken_.size());
      for_each_index(spatial, counts, [&](const Ix& k) {
        int64_t pixel = 0;
        for (int d = 0; d < spatial; ++d) pixel = pixel * dx().view.shape[lead + d] + entry(d, o[d]).start + k[d];
        taken_.push_back(pixel);
      });
      list_.push_back({first, static_cast<int64_t>(taken_.size()) - first, static_cast<float>(1 / (windows_.divisor != 0 ? windows_.divisor : divisor))});
    });
  }
  const Windows::Entry& entry(int d, int64_t o) const { return windows_.dims[static_cast<size_t>(d)].entries[static_cast<size_t>(o)]; }

  // The block of channels of a task in an image.
  Patch patch(const Image& image, void* const* ptr, const Ix& task) const {
    int64_t offset = task[channel_] * block_ * image.view.strides[channel_];
    for (int d = 0; d < channel_; ++d) offset += task[d] * image.view.strides[d];
    return {static_cast<const char*>(ptr[image.slot]) + offset * (bits(image.view.dtype) / 8), image.pixel, image.view.strides[channel_]};
  }

  void run(void* const* ptr, Buffer& b, const Ix& task) const {
    const int64_t channels = std::min(block_, dx().view.shape[channel_] - task[channel_] * block_);
    move(load_, patch(dy(), ptr, task), b.dy.data(), positions_, channels);
    std::fill_n(b.dx.data(), pixels_ * channels, 0.0f);
    if (max_) {
      scatter(b, patch(images_[2], ptr, task), channels);
    } else {
      spread(b, channels);
    }
    move(store_, patch(dx(), ptr, task), b.dx.data(), pixels_, channels);
  }

  // A single channel is a row of pixels.
  static void move(LoadFn load, const Patch& p, float* to, int64_t pixels, int64_t channels) {
    channels == 1 ? load({p.data, 0, p.row_stride}, to, 1, pixels) : load(p, to, pixels, channels);
  }
  static void move(StoreFn store, const Patch& p, const float* from, int64_t pixels, int64_t channels) {
    channels == 1 ? store(from, {p.data, 0, p.row_stride}, 1, pixels) : store(from, p, pixels, channels);
  }

  void scatter(Buffer& b, const Patch& indices, int64_t channels) const {
    const auto* from = static_cast<const int64_t*>(indices.data);
    for (int64_t o = 0; o < positions_; ++o) {
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t pixel = from[o * indices.row_stride + c * indices.col_stride];
        if (pixel >= 0 && pixel < pixels_) b.dx[static_cast<size_t>(pixel * channels + c)] += b.dy[static_cast<size_t>(o * channels + c)];
      }
    }
  }

  void spread(Buffer& b, int64_t channels) const {
    for (int64_t o = 0; o < positions_; ++o) {
      const Window& w = list_[static_cast<size_t>(o)];
      float* dy = b.dy.data() + o * channels;
      for (int64_t c = 0; c < channels; ++c) dy[c] *= w.share;
      for (int64_t k = 0; k < w.count; ++k) {
        float* dx = b.dx.data() + taken_[static_cast<size_t>(w.first + k)] * channels;
        for (int64_t c = 0; c < channels; ++c) dx[c] += dy[c];
      }
    }
  }

  bool max_;
  std::vector<Image> images_;  // dx, dy, indices
  PoolWindows windows_;
  int channel_ = 0, threads_ = 1;
  int64_t block_ = 1, blocks_ = 1, count_ = 0, pixels_ = 1, positions_ = 1;
  Odometer tasks_;
  std::vector<int64_t> taken_;
  std::vector<Window> list_;
  std::vector<Buffer> buffers_;
  LoadFn load_ = nullptr;
  StoreFn store_ = nullptr;
};

std::unique_ptr<Executable> prepare_pool_gradient(const CpuProblem& p) {
  const auto& op = attrs<PoolGradient>(p);
  std::vector<WindowPoolGradient::Image> images{{View(p.args.out[0]), p.inputs(), 0}};
  for (int k = 0; k < p.inputs(); ++k) images.push_back({View(p.args.in[k]), k, 0});
  for (auto& image : images) {
    const auto pixel = pixel_stride(image.view, static_cast<int>(op.size.size()));
    if (!pixel) return prepare_kernel("reference.pool_gradient", p);
    image.pixel = *pixel;
  }
  if (p.args.out[0].numel() == 0 || p.args.in[0].numel() == 0) return prepare_kernel("reference.pool_gradient", p);
  return executable(WindowPoolGradient(op, p, std::move(images)));
}

}  // namespace

void add_pool_gradient_kernels(CpuKernelTable& table) { table.push_back({"own.pool_gradient.windows", prepare_pool_gradient}); }

}  // namespace tuyere::cpu
