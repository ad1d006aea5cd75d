// SPDX-License-Identifier: Apache-2.0
// own.resize.taps: the taps of an output position are combined once and applied to all channels.
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/views.h"
#include "kernels/pointwise/tile_convert.h"
#include "kernels/resize/resize_taps.h"

namespace tuyere::cpu {
namespace {

constexpr int kMaxTaps = 64;  // cubic in three dims
constexpr int64_t kChannels = 256;

struct Position {
  int count;
  std::array<int64_t, kMaxTaps> offset;
  std::array<float, kMaxTaps> weight;
};

class TapResize {
 public:
  TapResize(const Resize& op, const CpuProblem& p)
      : x_(p.args.in[0]),
        out_(p.args.out[0]),
        spatial_(static_cast<int>(op.size.size())),
        lead_(x_.rank - spatial_),
        load_(tile_load(x_.dtype, DType::F32)),
        store_(tile_store(DType::F32, out_.dtype)) {
    for (int d = 0; d < spatial_; ++d) {
      auto& list = taps_.emplace_back();
      for (int64_t o = 0; o < out_.shape[lead_ + d]; ++o) {
        list.push_back(resize_taps<float>(op.mode, op.align_corners, op.scales.empty() ? 0 : op.scales[d], x_.shape[lead_ + d], out_.shape[lead_ + d], o));
      }
    }
    // The last leading dim (channels) is the inner loop; the ones before it are outer.
    channels_ = lead_ > 0 ? x_.shape[lead_ - 1] : 1;
    x_channel_ = lead_ > 0 ? x_.strides[lead_ - 1] : 0;
    out_channel_ = lead_ > 0 ? out_.strides[lead_ - 1] : 0;
    space_ = Odometer{std::max(0, lead_ - 1) + spatial_, {}, {}};
    for (int d = 0, e = 0; d < out_.rank; ++d) {
      if (d != lead_ - 1) space_.shape[e++] = out_.shape[d];
    }
    positions_ = out_.numel() == 0 ? 0 : product(space_.rank, space_.shape);
    threads_ = threads_for(out_.numel() * 4);
  }

  void operator()(void* const* ptr) const {
    parallel_ranges(threads_, positions_, [&](int, int64_t begin, int64_t end) {
      Odometer o = space_;
      o.seek(begin);
      for (int64_t n = begin; n < end; ++n, o.next()) run_position(ptr, o.index);
    });
  }

 private:
  void run_position(void* const* ptr, const Ix& index) const {
    Position at;
    at.count = 1;
    at.offset[0] = 0;
    at.weight[0] = 1;
    int64_t from = 0, to = 0;
    for (int d = 0; d < lead_ - 1; ++d) {
      from += index[d] * x_.strides[d];
      to += index[d] * out_.strides[d];
    }
    const int base = std::max(0, lead_ - 1);
    for (int d = 0; d < spatial_; ++d) {
      const int64_t o = index[base + d];
      to += o * out_.strides[lead_ + d];
      combine(at, taps_[d][o], x_.strides[lead_ + d]);
    }
    const int64_t x_bytes = bits(x_.dtype) / 8, out_bytes = bits(out_.dtype) / 8;
    std::array<float, kChannels> sum, part;
    for (int64_t c = 0; c < channels_; c += kChannels) {
      const int64_t n = std::min(kChannels, channels_ - c);
      for (int t = 0; t < at.count; ++t) {
        const Patch source{static_cast<const char*>(ptr[0]) + (from + at.offset[t] + c * x_channel_) * x_bytes, 0, x_channel_};
        load_(source, part.data(), 1, n);
        for (int64_t i = 0; i < n; ++i) sum[i] = (t ? sum[i] : 0.0f) + at.weight[t] * part[i];
      }
      store_(sum.data(), Patch{static_cast<char*>(ptr[1]) + (to + c * out_channel_) * out_bytes, 0, out_channel_}, 1, n);
    }
  }

  // Every tap so far with every tap of one more dim, in place: the first group is written last.
  static void combine(Position& at, const Taps& taps, int64_t stride) {
    for (int k = taps.count - 1; k >= 0; --k) {
      for (int i = 0; i < at.count; ++i) {
        at.offset[k * at.count + i] = at.offset[i] + taps.at[k] * stride;
        at.weight[k * at.count + i] = at.weight[i] * static_cast<float>(taps.weight[k]);
      }
    }
    at.count *= taps.count;
  }

  View x_, out_;
  int spatial_, lead_;
  LoadFn load_;
  StoreFn store_;
  std::vector<std::vector<Taps>> taps_;
  int64_t channels_, x_channel_, out_channel_;
  Odometer space_;
  int64_t positions_ = 0;
  int threads_ = 1;
};

std::unique_ptr<Executable> prepare_resize(const CpuProblem& p) {
  if (p.args.in[0].dtype == DType::F64) return prepare_kernel("reference.resize", p);
  return executable(TapResize(attrs<Resize>(p), p));
}

}  // namespace

void add_resize_kernels(CpuKernelTable& table) { table.push_back({"own.resize.taps", prepare_resize}); }

}  // namespace tuyere::cpu
