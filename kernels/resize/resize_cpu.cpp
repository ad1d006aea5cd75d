// SPDX-License-Identifier: Apache-2.0
// own.resize.taps: separable. Dense channels: the input rows that an output row needs are combined first, then positions along the row.
// Otherwise every needed input row is resized along the last dim once, kept in a small ring, and rows are combined from there.
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/row_functions.h"
#include "kernels/cpu/strided_copy.h"
#include "kernels/pointwise/tile_convert.h"
#include "kernels/resize/resize_taps.h"

namespace tuyere::cpu {
namespace {

constexpr int kRing = 16;  // four taps in each of two dims
constexpr int kMaxSpatial = 3;

// Input rows of one output row, with weights.
struct RowTaps {
  int count = 1;
  std::array<int64_t, kRing> offset{};
  std::array<int, kRing> place{};  // in the ring: neighbours never share one
  std::array<float, kRing> weight{1};
};

// The last dim as PyTorch's taps, all of one count.
struct ColumnTaps {
  int count = 1;
  std::vector<int32_t> at;
  std::vector<float> weight;
};

struct ResizeProblem {
  View x, out;
  int spatial = 0, lead = 0;
  std::vector<std::vector<Taps>> rows;  // per spatial dim but the last
  ColumnTaps columns;

  ResizeProblem(const Resize& op, const CpuProblem& p)
      : x(p.args.in[0]), out(p.args.out[0]), spatial(static_cast<int>(op.size.size())), lead(x.rank - spatial) {
    for (int d = 0; d < spatial; ++d) {
      std::vector<Taps> list;
      const double scale = op.scales.empty() ? 0 : op.scales[static_cast<size_t>(d)];
      for (int64_t o = 0; o < out.shape[lead + d]; ++o) {
        list.push_back(resize_taps<float>(op.mode, op.align_corners, scale, x.shape[lead + d], out.shape[lead + d], o));
      }
      if (d + 1 < spatial) {
        rows.push_back(std::move(list));
        continue;
      }
      for (const Taps& t : list) {
        columns.count = t.count;
        for (int k = 0; k < t.count; ++k) {
          columns.at.push_back(static_cast<int32_t>(t.at[static_cast<size_t>(k)]));
          columns.weight.push_back(static_cast<float>(t.weight[static_cast<size_t>(k)]));
        }
      }
    }
  }
  int64_t out_rows() const {
    int64_t n = 1;
    for (int d = 0; d + 1 < spatial; ++d) n *= out.shape[lead + d];
    return n;
  }
  // Row number -> its taps, and its offset in the output.
  RowTaps taps_of(int64_t row, int64_t* to) const {
    RowTaps r;
    *to = 0;
    for (int d = spatial - 2, ring = 1; d >= 0; --d, ring *= 4) {
      const int64_t o = row % out.shape[lead + d];
      row /= out.shape[lead + d];
      *to += o * out.strides[lead + d];
      const Taps& t = rows[static_cast<size_t>(d)][static_cast<size_t>(o)];
      for (int k = t.count - 1; k >= 0; --k) {  // the first group is overwritten last
        for (int i = 0; i < r.count; ++i) {
          const auto from = static_cast<size_t>(i), at = static_cast<size_t>(k * r.count + i);
          r.offset[at] = r.offset[from] + t.at[static_cast<size_t>(k)] * x.strides[lead + d];
          r.place[at] = r.place[from] + static_cast<int>(t.at[static_cast<size_t>(k)] % 4) * ring;
          r.weight[at] = r.weight[from] * static_cast<float>(t.weight[static_cast<size_t>(k)]);
        }
      }
      r.count *= t.count;
    }
    return r;
  }
};

// Rows of f32 values of the input.
struct RowReader {
  LoadFn load;
  bool in_place;
  int64_t n, stride, bytes;
  RowReader(const View& x, int64_t count, int64_t step)
      : load(tile_load(x.dtype, DType::F32)), in_place(x.dtype == DType::F32 && step == 1), n(count), stride(step), bytes(bits(x.dtype) / 8) {}
  const float* read(const char* x, int64_t offset, float* buffer) const {
    const char* from = x + offset * bytes;
    if (in_place) return reinterpret_cast<const float*>(from);
    load(Patch{from, n * stride, stride}, buffer, 1, n);
    return buffer;
  }
};

class PlaneResize {
 public:
  PlaneResize(const Resize& op, const CpuProblem& p)
      : r_(op, p), reader_(r_.x, r_.x.shape[r_.x.rank - 1], r_.x.strides[r_.x.rank - 1]), store_(tile_store(DType::F32, r_.out.dtype)) {
    lead_ = make_nest(r_.lead, r_.out.shape, {r_.out.strides, r_.x.strides});
    width_ = r_.out.shape[r_.out.rank - 1];
    rows_ = r_.out_rows();
    units_ = r_.out.numel() == 0 ? 0 : lead_.numel();
    // Few planes: threads share the rows of each, and rings start afresh.
    const int threads = threads_for(r_.out.numel() * 4);
    parts_ = units_ > 0 && units_ < threads ? std::min<int64_t>(rows_, (threads + units_ - 1) / units_) : 1;
    threads_ = static_cast<int>(std::min<int64_t>(threads, std::max<int64_t>(1, units_ * parts_)));
    buffers_.resize(static_cast<size_t>(threads_));
    for (Buffer& b : buffers_) {
      b.ring.resize(static_cast<size_t>(kRing * width_));
      b.row.resize(static_cast<size_t>(reader_.n));
      b.result.resize(static_cast<size_t>(width_));
    }
  }

  void operator()(void* const* ptr) {
    parallel_ranges(threads_, units_ * parts_, [&](int thread, int64_t begin, int64_t end) {
      NestWalk walk(lead_, lead_.rank, begin / parts_);
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t part = unit % parts_;
        char* out = static_cast<char*>(ptr[1]) + walk.offset(0) * (bits(r_.out.dtype) / 8);
        run(static_cast<const char*>(ptr[0]) + walk.offset(1) * reader_.bytes, out, buffers_[static_cast<size_t>(thread)], rows_ * part / parts_,
            rows_ * (part + 1) / parts_);
        if (part + 1 == parts_) walk.next();
      }
    });
  }

 private:
  struct Buffer {
    std::vector<float> ring, row, result;
    std::array<int64_t, kRing> held{};
  };

  void run(const char* x, char* out, Buffer& b, int64_t begin, int64_t end) const {
    const RowFunctions& f = row_functions();
    const int last = r_.out.rank - 1;
    b.held.fill(-1);
    for (int64_t row = begin; row < end; ++row) {
      int64_t to = 0;
      const RowTaps taps = r_.taps_of(row, &to);
      std::array<const float*, kRing> rows;
      for (int k = 0; k < taps.count; ++k) {
        const auto tap = static_cast<size_t>(k), place = static_cast<size_t>(taps.place[tap]);
        float* kept = b.ring.data() + taps.place[tap] * width_;
        if (b.held[place] != taps.offset[tap]) {
          const float* from = reader_.read(x, taps.offset[tap], b.row.data());
          f.take(from, r_.columns.at.data(), r_.columns.weight.data(), r_.columns.count, kept, width_);
          b.held[place] = taps.offset[tap];
        }
        rows[tap] = kept;
      }
      char* place = out + to * (bits(r_.out.dtype) / 8);
      const bool direct = r_.out.dtype == DType::F32 && r_.out.strides[last] == 1;
      float* result = direct ? reinterpret_cast<float*>(place) : b.result.data();
      f.weighted_sum(rows.data(), taps.weight.data(), taps.count, result, width_);
      if (!direct) store_(result, Patch{place, width_ * r_.out.strides[last], r_.out.strides[last]}, 1, width_);
    }
  }

  ResizeProblem r_;
  RowReader reader_;
  StoreFn store_;
  LoopNest lead_;  // planes: output, x
  int64_t width_, rows_, units_, parts_ = 1;
  int threads_ = 1;
  std::vector<Buffer> buffers_;
};

class ChannelResize {
 public:
  ChannelResize(const Resize& op, const CpuProblem& p)
      : r_(op, p),
        channels_(r_.x.shape[r_.lead - 1]),
        columns_(r_.x.shape[r_.x.rank - 1]),
        reader_(r_.x, columns_ * channels_, 1),
        store_(tile_store(DType::F32, r_.out.dtype)) {
    lead_ = make_nest(r_.lead - 1, r_.out.shape, {r_.out.strides, r_.x.strides});
    rows_ = r_.out_rows();
    units_ = r_.out.numel() == 0 ? 0 : lead_.numel() * rows_;
    threads_ = static_cast<int>(std::min<int64_t>(threads_for(r_.out.numel() * 4), std::max<int64_t>(1, units_)));
    int most = 1;
    for (const auto& list : r_.rows) most *= list.empty() ? 1 : list.front().count;
    buffers_.resize(static_cast<size_t>(threads_));
    for (Buffer& b : buffers_) {
      b.combined.resize(static_cast<size_t>(reader_.n));
      if (!reader_.in_place) b.loaded.resize(static_cast<size_t>(reader_.n * most));
      b.result.resize(static_cast<size_t>(channels_));
    }
  }

  /// Channels dense on both sides, positions of a row side by side in the input.
  static bool fits(const Resize& op, const View& x, const View& out) {
    const int lead = x.rank - static_cast<int>(op.size.size());
    return lead >= 1 && x.shape[lead - 1] >= 4 && x.strides[lead - 1] == 1 && out.strides[lead - 1] == 1 && x.strides[x.rank - 1] == x.shape[lead - 1];
  }

  void operator()(void* const* ptr) {
    parallel_ranges(threads_, units_, [&](int thread, int64_t begin, int64_t end) {
      NestWalk walk(lead_, lead_.rank, begin / rows_);
      for (int64_t unit = begin; unit < end; ++unit) {
        char* out = static_cast<char*>(ptr[1]) + walk.offset(0) * (bits(r_.out.dtype) / 8);
        run(static_cast<const char*>(ptr[0]) + walk.offset(1) * reader_.bytes, out, buffers_[static_cast<size_t>(thread)], unit % rows_);
        if ((unit + 1) % rows_ == 0) walk.next();
      }
    });
  }

 private:
  struct Buffer {
    std::vector<float> combined, loaded, result;
  };

  void run(const char* x, char* out, Buffer& b, int64_t row) const {
    const RowFunctions& f = row_functions();
    int64_t to = 0;
    const RowTaps taps = r_.taps_of(row, &to);
    std::array<const float*, kRing> rows;
    for (int k = 0; k < taps.count; ++k) rows[static_cast<size_t>(k)] = reader_.read(x, taps.offset[static_cast<size_t>(k)], b.loaded.data() + k * reader_.n);
    const float* combined = rows[0];
    if (taps.count > 1) {
      f.weighted_sum(rows.data(), taps.weight.data(), taps.count, b.combined.data(), reader_.n);
      combined = b.combined.data();
    }
    const int64_t width = r_.out.shape[r_.out.rank - 1], step = r_.out.strides[r_.out.rank - 1], bytes = bits(r_.out.dtype) / 8;
    const int count = r_.columns.count;
    for (int64_t o = 0; o < width; ++o) {
      std::array<const float*, 4> columns;
      for (int k = 0; k < count; ++k) columns[static_cast<size_t>(k)] = combined + r_.columns.at[static_cast<size_t>(o * count + k)] * channels_;
      char* place = out + (to + o * step) * bytes;
      float* result = r_.out.dtype == DType::F32 ? reinterpret_cast<float*>(place) : b.result.data();
      f.weighted_sum(columns.data(), r_.columns.weight.data() + o * count, count, result, channels_);
      if (r_.out.dtype != DType::F32) store_(result, Patch{place, channels_, 1}, 1, channels_);
    }
  }

  ResizeProblem r_;
  int64_t channels_, columns_;
  RowReader reader_;
  StoreFn store_;
  LoopNest lead_;  // images: output, x
  int64_t rows_, units_;
  int threads_ = 1;
  std::vector<Buffer> buffers_;
};

std::unique_ptr<Executable> prepare_resize(const CpuProblem& p) {
  const auto& op = attrs<Resize>(p);
  const View x(p.args.in[0]), out(p.args.out[0]);
  if (compute_type(x.dtype) != DType::F32 || op.size.empty() || static_cast<int>(op.size.size()) > kMaxSpatial) return prepare_kernel("reference.resize", p);
  if (ChannelResize::fits(op, x, out)) return executable(ChannelResize(op, p));
  return executable(PlaneResize(op, p));
}

}  // namespace

void add_resize_kernels(CpuKernelTable& table) { table.push_back({"own.resize.taps", prepare_resize}); }

}  // namespace tuyere::cpu
