// SPDX-License-Identifier: Apache-2.0
// own.conv.winograd: 3x3 windows that move by one pixel, f32, with 4 products for 9 (F(2x2, 3x3): sums of inputs and of products lose at most two bits,
// so that the error stays that of long sums). The windows of some lines of the image are transformed into a matrix for each of 16 points that stays in
// the second cache; it is multiplied with the packed weights of 64 channels at a time, and every line of the products is transformed back and gets the
// epilogue at once.
#include <algorithm>

#include "kernels/conv/conv_epilogue.h"
#include "kernels/conv/conv_kernels.h"
#include "kernels/conv/conv_winograd.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/small_gemm.h"

namespace tuyere::cpu {
namespace {

constexpr int64_t kPanelChannels = 64;       // output channels of a product
constexpr int64_t kStripBytes = 1024 << 10;  // transformed windows of a strip
constexpr int64_t kMostWindows = 128;        // of a strip: their products stay in the second cache too
constexpr int64_t kLine = 16;                // floats of a cache line

int64_t parts_of(int64_t size, int64_t part) { return (size + part - 1) / part; }
/// Whole cache lines, an odd number of them, so that planes do not meet in the same sets of the caches.
int64_t plane_floats(int64_t floats) { return (parts_of(floats, kLine) | 1) * kLine; }

class WinogradConv {
 public:
  explicit WinogradConv(const CpuProblem& p)
      : op_(attrs<Conv>(p)),
        lanes_(winograd_functions().lanes),
        x_(View(p.args.in[0]), 2),
        out_(View(p.args.out[0]), 2),
        slot_(p.workspace_slot()),
        zeros_(static_cast<size_t>(x_.block)) {
    panels_ = parts_of(out_.channels, kPanelChannels);
    plan_strips();
    const int64_t products = out_.count * down_ * across_ * windows() * kWinogradPoints * x_.channels * out_.channels;
    threads_ = threads_for(products / lanes_);
    whole_strips_ = threads_ == 1 || strips() >= 2 * threads_;
    threads_ = static_cast<int>(std::min<int64_t>(threads_, whole_strips_ ? strips() : std::max(windows(), panels_)));
  }

  int64_t workspace_bytes() const { return ((whole_strips_ ? threads_ : 1) * inputs_floats() + threads_ * products_floats()) * 4; }

  void prepare(const CpuProblem& p) {
    const View out(p.args.out[0]);
    std::vector<Image> extras;
    for (int k = 2; k < p.inputs(); ++k) extras.emplace_back(View(p.args.in[k]).broadcast_to(out), 2);
    epilogue_ = std::make_unique<ConvEpilogue>(op_.epilogue, out_, std::move(extras), lanes_, threads_);
    const Weights w(p, 2);
    weights_ = packed_constant(p, 1, "|winograd|" + std::to_string(x_.channels) + "|" + w.describe(), [&] { return pack(w); });
  }

  void operator()(void* const* ptr) {
    auto* inputs = static_cast<float*>(ptr[slot_]);
    float* products = inputs + (whole_strips_ ? threads_ : 1) * inputs_floats();
    if (whole_strips_) {
      parallel_ranges(threads_, strips(), [&](int thread, int64_t begin, int64_t end) {
        float* own = inputs + thread * inputs_floats();
        for (int64_t i = begin; i < end; ++i) {
          const Strip strip = strip_at(i);
          transform(ptr, strip, 0, strip.windows(), own);
          for (int64_t panel = 0; panel < panels_; ++panel) multiply(ptr, strip, panel, thread, own, products + thread * products_floats());
        }
      });
      return;
    }
    for (int64_t i = 0; i < strips(); ++i) {
      const Strip strip = strip_at(i);
      parallel_ranges(threads_, strip.windows(), [&](int, int64_t begin, int64_t end) { transform(ptr, strip, begin, end, inputs); });
      parallel_ranges(threads_, panels_, [&](int thread, int64_t begin, int64_t end) {
        for (int64_t panel = begin; panel < end; ++panel) multiply(ptr, strip, panel, thread, inputs, products + thread * products_floats());
      });
    }
  }

 private:
  /// Some lines of windows of an image, or a part of a line.
  struct Strip {
    int64_t image, line, column, lines, columns;  // in windows
    int64_t windows() const { return lines * columns; }
  };

  /// Strips of nearly equal size.
  void plan_strips() {
    const int64_t lines = parts_of(out_.size[1], 2), columns = parts_of(out_.size[2], 2);
    const int64_t most = std::clamp<int64_t>(kStripBytes / (kWinogradPoints * pitch() * 4), 16, kMostWindows);
    across_ = parts_of(columns, most);
    columns_ = parts_of(columns, across_);
    down_ = parts_of(lines, std::max<int64_t>(1, most / columns_));
    lines_ = parts_of(lines, down_);
  }
  int64_t strips() const { return out_.count * down_ * across_; }
  int64_t windows() const { return lines_ * columns_; }
  Strip strip_at(int64_t i) const {
    const int64_t column = i % across_ * columns_, line = i / across_ % down_ * lines_;
    return {i / across_ / down_, line, column, std::min(lines_, parts_of(out_.size[1], 2) - line), std::min(columns_, parts_of(out_.size[2], 2) - column)};
  }

  int64_t pitch() const { return x_.channels + kLine; }
  int64_t inputs_plane() const { return plane_floats(windows() * pitch()); }
  int64_t inputs_floats() const { return kWinogradPoints * inputs_plane(); }
  int64_t products_plane() const { return plane_floats(windows() * kPanelChannels); }
  int64_t line_floats() const { return 2 * columns_ * lanes_; }
  int64_t products_floats() const { return kWinogradPoints * products_plane() + 2 * line_floats() * (kPanelChannels / lanes_) + kPanelChannels; }

  /// [panel][point][input channel][kPanelChannels], zeros beyond the last output channel.
  std::shared_ptr<void> pack(const Weights& w) const {
    const int64_t point = x_.channels * kPanelChannels;
    std::shared_ptr<void> memory = host_memory(static_cast<size_t>(panels_ * kWinogradPoints * point) * sizeof(float));
    parallel_ranges(threads_for(panels_ * kWinogradPoints * point), panels_, [&](int, int64_t begin, int64_t end) {
      for (int64_t panel = begin; panel < end; ++panel) {
        float* to = static_cast<float*>(memory.get()) + panel * kWinogradPoints * point;
        const int64_t first = panel * kPanelChannels, count = std::min(kPanelChannels, out_.channels - first);
        for (int64_t c = 0; c < x_.channels; ++c) {
          for (int64_t o = 0; o < count; ++o) {
            std::array<double, 9> window{};
            for (size_t tap = 0; tap < 9; ++tap) window[tap] = w.at(first + o, c, tap);
            const auto points = winograd_weights(window);
            for (int64_t k = 0; k < kWinogradPoints; ++k) to[k * point + c * kPanelChannels + o] = static_cast<float>(points[static_cast<size_t>(k)]);
          }
        }
      }
    });
    return memory;
  }

  // -- running

  /// The windows [begin, end) of a strip.
  void transform(void* const* ptr, const Strip& strip, int64_t begin, int64_t end, float* inputs) const {
    const float* image = static_cast<const float*>(ptr[0]) + x_.at(strip.image, 0);
    const int64_t blocks = x_.channels / x_.block;
    std::array<const float*, kWinogradPoints> pixels;
    std::array<int64_t, kWinogradPoints> steps;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t top = 2 * (strip.line + i / strip.columns) - op_.pad_before[0], left = 2 * (strip.column + i % strip.columns) - op_.pad_before[1];
      for (size_t k = 0; k < kWinogradPoints; ++k) {
        const int64_t h = top + static_cast<int64_t>(k / 4), w = left + static_cast<int64_t>(k % 4);
        const bool inside = h >= 0 && h < x_.size[1] && w >= 0 && w < x_.size[2];
        pixels[k] = inside ? image + x_.pixel({0, h, w}) : zeros_.data();
        steps[k] = inside ? x_.blocks : 0;
      }
      winograd_functions().input(pixels.data(), steps.data(), blocks, x_.block, inputs + i * pitch(), inputs_plane());
    }
  }

  /// The outputs of a strip in one panel of channels.
  void multiply(void* const* ptr, const Strip& strip, int64_t panel, int thread, const float* inputs, float* products) const {
    float *sums = products + kWinogradPoints * products_plane(), *start = sums + 2 * line_floats() * (kPanelChannels / lanes_);
    const int64_t first = panel * kPanelChannels, channels = std::min(kPanelChannels, out_.channels - first), padded = padded_columns(channels);
    const float* w = static_cast<const float*>(weights_.get()) + panel * kWinogradPoints * x_.channels * kPanelChannels;
    const int64_t step = gemm_depth(x_.channels);
    for (int64_t point = 0; point < kWinogradPoints; ++point, w += x_.channels * kPanelChannels) {
      const float* windows = inputs + point * inputs_plane();
      for (int64_t c = 0; c < x_.channels; c += step) {
        const int64_t length = std::min(step, x_.channels - c);
        const float *here = w + c * kPanelChannels, *next = here + length * kPanelChannels;  // that of the next point or panel, too
        small_gemm(windows + c, pitch(), here, kPanelChannels, products + point * products_plane(), kPanelChannels, strip.windows(), padded, length, c > 0,
                   next);
      }
    }
    const float* begin = epilogue_->starts(ptr, first, channels, start);
    const int64_t vectors = parts_of(channels, lanes_), vector = 2 * line_floats();
    for (int64_t line = 0; line < strip.lines; ++line) {
      const float* from = products + line * strip.columns * kPanelChannels;
      for (int64_t i = 0; i < strip.columns; ++i) {
        winograd_functions().output(from + i * kPanelChannels, products_plane(), begin, vectors, sums + i * 2 * lanes_, vector, line_floats());
      }
      const int64_t top = 2 * (strip.line + line), left = 2 * strip.column;
      epilogue_->run(ptr, thread, strip.image, {0, top, left}, std::min<int64_t>(2, out_.size[1] - top), std::min(2 * strip.columns, out_.size[2] - left),
                     first, channels, {sums, vector, line_floats()});
    }
  }

  Conv op_;
  int64_t lanes_;
  Image x_, out_;
  int slot_;
  std::vector<float> zeros_;  // a pixel beside the image
  int64_t panels_ = 1, across_ = 1, down_ = 1, columns_ = 1, lines_ = 1;
  int threads_ = 1;
  bool whole_strips_ = true;  // threads take strips; otherwise they share every strip
  std::unique_ptr<ConvEpilogue> epilogue_;
  std::shared_ptr<void> weights_;
};

std::unique_ptr<Executable> prepare_winograd(const CpuProblem& p) {
  if (conv_runs_reference(p)) return prepare_kernel("reference.conv", p);
  WinogradConv conv(p);
  conv.prepare(p);
  return executable(std::move(conv));
}

int64_t workspace_winograd(const CpuProblem& p) { return conv_runs_reference(p) ? 0 : WinogradConv(p).workspace_bytes(); }

}  // namespace

void add_winograd_kernels(CpuKernelTable& table) { table.push_back({"own.conv.winograd", prepare_winograd, workspace_winograd}); }

}  // namespace tuyere::cpu
