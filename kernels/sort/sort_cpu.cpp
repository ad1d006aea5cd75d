// SPDX-License-Identifier: Apache-2.0
// own.sort.keys, own.topk.keys: values become unsigned keys in the wanted order (32 bits for everything that computes in f32 or i32), packed above
// the index, so that keys are unique and ties keep their order. Sort: radix passes over the key bits. Top-k: a filter against the worst of the best.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/strided_copy.h"
#include "kernels/pointwise/tile_convert.h"

namespace tuyere::cpu {
namespace {

constexpr int kDigit = 11;
constexpr int64_t kRadixLength = 256;  // shorter lines are sorted by comparison

/// Ascending order of floats with -0 equal to 0 and NaN last, as unsigned integers.
uint32_t float_key(float v) {
  if (v != v) return 0xffffffffu;
  v += 0.0f;
  uint32_t u;
  std::memcpy(&u, &v, 4);
  return u & 0x80000000u ? ~u : u | 0x80000000u;
}

struct Line {
  std::vector<uint64_t> keys, spare;
  std::vector<int32_t> values;  // f32 or i32 bits
};

class KeyedLines {
 public:
  KeyedLines(const CpuProblem& p, int64_t raw_axis, bool descending) : x_(p.args.in[0]), descending_(descending) {
    const View values(p.args.out[0]), indices(p.args.out[1]);
    axis_ = normalize_axis(raw_axis, x_.rank);
    length_ = x_.shape[axis_];
    keep_ = values.shape[axis_];
    USER_CHECK(keep_ <= length_, "top " << keep_ << " of " << length_ << " elements");
    View lines = x_;
    lines.shape[axis_] = std::min<int64_t>(1, length_);
    nest_ = make_nest(lines.rank, lines.shape, {values.strides, indices.strides, x_.strides});
    steps_ = {values.strides[axis_], indices.strides[axis_], x_.strides[axis_]};
    real_ = compute_type(x_.dtype) == DType::F32;
    load_ = tile_load(x_.dtype, real_ ? DType::F32 : DType::I32);
    bytes_ = bits(x_.dtype) / 8;
    units_ = keep_ == 0 ? 0 : nest_.numel();
    threads_ = static_cast<int>(std::min<int64_t>(threads_for(x_.numel() * 8), std::max<int64_t>(1, units_)));
    lines_.resize(static_cast<size_t>(threads_));
    for (Line& line : lines_) {
      line.keys.resize(static_cast<size_t>(length_));
      line.spare.resize(static_cast<size_t>(length_));
      line.values.resize(static_cast<size_t>(length_));
    }
  }

  void operator()(void* const* ptr) {
    parallel_ranges(threads_, units_, [&](int thread, int64_t begin, int64_t end) {
      NestWalk walk(nest_, nest_.rank, begin);
      for (int64_t unit = begin; unit < end; ++unit, walk.next()) {
        Line& line = lines_[static_cast<size_t>(thread)];
        const char* x = static_cast<const char*>(ptr[0]) + walk.offset(2) * bytes_;
        load_(Patch{x, length_ * steps_[2], steps_[2]}, line.values.data(), 1, length_);
        if (keep_ * 4 <= length_) {
          best(line);
        } else {
          all(line);
        }
        write(line, x, static_cast<char*>(ptr[1]) + walk.offset(0) * bytes_, static_cast<int64_t*>(ptr[2]) + walk.offset(1));
      }
    });
  }

 private:
  uint32_t key(int32_t value) const {
    uint32_t k;
    if (real_) {
      float v;
      std::memcpy(&v, &value, 4);
      k = float_key(v);
    } else {
      k = static_cast<uint32_t>(value) ^ 0x80000000u;
    }
    return descending_ ? ~k : k;
  }
  static uint64_t packed(uint32_t key, int64_t index) { return static_cast<uint64_t>(key) << 32 | static_cast<uint64_t>(index); }

  void all(Line& line) const {
    for (int64_t i = 0; i < length_; ++i) line.keys[static_cast<size_t>(i)] = packed(key(line.values[static_cast<size_t>(i)]), i);
    if (length_ < kRadixLength) {
      std::sort(line.keys.begin(), line.keys.end());
    } else {
      radix_sort(line);
    }
  }

  // Least significant digit first: stable, so indices stay in order.
  void radix_sort(Line& line) const {
    constexpr size_t kBuckets = size_t{1} << kDigit;
    std::array<std::array<uint32_t, kBuckets>, 3> counts{};
    for (uint64_t k : line.keys) {
      for (size_t pass = 0; pass < 3; ++pass) ++counts[pass][(k >> (32 + pass * kDigit)) & (kBuckets - 1)];
    }
    for (size_t pass = 0; pass < 3; ++pass) {
      uint32_t place = 0;
      for (uint32_t& c : counts[pass]) place += std::exchange(c, place);
      for (uint64_t k : line.keys) line.spare[counts[pass][(k >> (32 + pass * kDigit)) & (kBuckets - 1)]++] = k;
      std::swap(line.keys, line.spare);
    }
  }

  // Keeps candidates below a threshold, which falls whenever there are too many.
  void best(Line& line) const {
    const auto limit = static_cast<size_t>(std::min(length_, std::max<int64_t>(4 * keep_, 256)));
    uint64_t threshold = ~uint64_t{0};
    size_t count = 0;
    const auto cut = [&] {
      const auto nth = line.keys.begin() + keep_ - 1;
      std::nth_element(line.keys.begin(), nth, line.keys.begin() + static_cast<int64_t>(count));
      threshold = *nth;
      count = static_cast<size_t>(keep_);
    };
    for (int64_t i = 0; i < length_; ++i) {
      const uint64_t k = packed(key(line.values[static_cast<size_t>(i)]), i);
      if (k > threshold) continue;
      if (count == limit) cut();
      line.keys[count++] = k;
    }
    cut();
    std::sort(line.keys.begin(), line.keys.begin() + keep_);
  }

  void write(const Line& line, const char* x, char* values, int64_t* indices) const {
    with_element(bytes_, [&]<class T>() {
      for (int64_t j = 0; j < keep_; ++j) {
        const auto i = static_cast<int64_t>(line.keys[static_cast<size_t>(j)] & 0xffffffffu);
        reinterpret_cast<T*>(values)[j * steps_[0]] = reinterpret_cast<const T*>(x)[i * steps_[2]];
        indices[j * steps_[1]] = i;
      }
    });
  }

  View x_;
  bool descending_, real_ = true;
  int axis_ = 0;
  int64_t length_ = 0, keep_ = 0, bytes_ = 4, units_ = 0;
  std::array<int64_t, 3> steps_{};
  LoopNest nest_;  // lines: values, indices, x
  LoadFn load_ = nullptr;
  int threads_ = 1;
  std::vector<Line> lines_;
};

bool fits(const CpuProblem& p) {
  const DType type = compute_type(p.args.in[0].dtype);
  const TensorView& x = p.args.in[0];
  return (type == DType::F32 || type == DType::I32) && !x.shape.empty() && x.numel() > 0 && x.numel() < INT32_MAX;
}

std::unique_ptr<Executable> prepare_topk(const CpuProblem& p) {
  if (!fits(p)) return prepare_kernel("reference.topk", p);
  const auto& op = attrs<TopK>(p);
  return executable(KeyedLines(p, op.axis, op.largest));
}

std::unique_ptr<Executable> prepare_sort(const CpuProblem& p) {
  if (!fits(p)) return prepare_kernel("reference.sort", p);
  const auto& op = attrs<Sort>(p);
  return executable(KeyedLines(p, op.axis, op.descending));
}

}  // namespace

void add_sort_kernels(CpuKernelTable& table) {
  table.push_back({"own.topk.keys", prepare_topk});
  table.push_back({"own.sort.keys", prepare_sort});
}

}  // namespace tuyere::cpu
