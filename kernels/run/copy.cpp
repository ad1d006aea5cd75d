// SPDX-License-Identifier: Apache-2.0
// "copy": a strided copy in host memory. Dimensions are merged at prepare; run() walks the outer ones and copies rows.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "kernels/run/executors.h"

namespace tuyere {
namespace {

constexpr int kMaxRank = 16;

struct Axis {
  int64_t size, in, out;  // strides in bytes
};

/// Axes of size > 1, the output's largest stride first, merged where both sides allow.
std::vector<Axis> merged_axes(const TensorView& in, const TensorView& out, int64_t unit) {
  std::vector<Axis> axes;
  for (size_t i = 0; i < out.shape.size(); ++i)
    if (out.shape[i] != 1) axes.push_back({out.shape[i], in.strides[i] * unit, out.strides[i] * unit});
  std::stable_sort(axes.begin(), axes.end(), [](const Axis& a, const Axis& b) { return std::abs(a.out) > std::abs(b.out); });
  std::vector<Axis> merged;
  for (const Axis& axis : axes) {
    if (!merged.empty() && merged.back().in == axis.in * axis.size && merged.back().out == axis.out * axis.size)
      merged.back() = {merged.back().size * axis.size, axis.in, axis.out};
    else
      merged.push_back(axis);
  }
  return merged;
}

template <class T>
void copy_row(std::byte* out, const std::byte* in, const Axis& axis) {
  for (int64_t i = 0; i < axis.size; ++i) std::memcpy(out + i * axis.out, in + i * axis.in, sizeof(T));
}

void copy_bytes(std::byte* out, const std::byte* in, const Axis& axis) { std::memmove(out, in, static_cast<size_t>(axis.size)); }

class HostCopy final : public Executable {
 public:
  HostCopy(std::vector<Axis> outer, Axis row, void (*copy)(std::byte*, const std::byte*, const Axis&)) : outer_(std::move(outer)), row_(row), copy_(copy) {}

  Status run(void* const* pointers, void*) noexcept override {
    const auto* in = static_cast<const std::byte*>(pointers[0]);
    auto* out = static_cast<std::byte*>(pointers[1]);
    std::array<int64_t, kMaxRank> index{};
    const int rank = static_cast<int>(outer_.size());
    for (;;) {
      copy_(out, in, row_);
      int axis = rank - 1;
      for (; axis >= 0; --axis) {
        in += outer_[axis].in;
        out += outer_[axis].out;
        if (++index[axis] < outer_[axis].size) break;
        in -= outer_[axis].in * outer_[axis].size;
        out -= outer_[axis].out * outer_[axis].size;
        index[axis] = 0;
      }
      if (axis < 0) return Status::ok();
    }
  }

 private:
  std::vector<Axis> outer_;
  Axis row_;
  void (*copy_)(std::byte*, const std::byte*, const Axis&);
};

bool is_row_major(const TensorView& view) { return view.strides == contiguous_strides(view.shape); }

class CopyExecutor final : public Executor {
 public:
  Result<std::unique_ptr<Executable>> prepare(const StepSpec&, const PrepareArgs& args) override {
    if (args.in.size() != 1 || args.out.size() != 1) return Status(Code::DataLoss, "a copy step has one input and one output");
    const TensorView &in = args.in[0], &out = args.out[0];
    if (in.dtype != out.dtype || in.shape != out.shape) return Status(Code::DataLoss, "a copy step needs equal types and shapes");
    if (args.device >= 0) return Status(Code::Unsupported, "copy steps of a GPU plan must be kernels");
    if (out.shape.size() > kMaxRank) return Status(Code::Unsupported, "a copy of more than 16 dimensions");
    if (out.numel() == 0) return std::unique_ptr<Executable>(std::make_unique<EmptyExecutable>());
    if (bits(in.dtype) < 8) return packed_copy(in, out);
    return strided_copy(in, out, bits(in.dtype) / 8);
  }

 private:
  /// Elements below a byte are copied as a whole.
  static Result<std::unique_ptr<Executable>> packed_copy(const TensorView& in, const TensorView& out) {
    if (!is_row_major(in) || !is_row_major(out)) return Status(Code::Unsupported, "a strided copy of elements below a byte");
    return make({}, {bytes_of(in.dtype, in.numel()), 1, 1}, copy_bytes);
  }

  static Result<std::unique_ptr<Executable>> strided_copy(const TensorView& in, const TensorView& out, int64_t unit) {
    std::vector<Axis> axes = merged_axes(in, out, unit);
    if (axes.empty()) axes.push_back({1, unit, unit});
    Axis row = axes.back();
    axes.pop_back();
    if (row.in == unit && row.out == unit) return make(std::move(axes), {row.size * unit, 1, 1}, copy_bytes);
    switch (unit) {
      case 1:
        return make(std::move(axes), row, copy_row<uint8_t>);
      case 2:
        return make(std::move(axes), row, copy_row<uint16_t>);
      case 4:
        return make(std::move(axes), row, copy_row<uint32_t>);
      default:
        return make(std::move(axes), row, copy_row<uint64_t>);
    }
  }

  static Result<std::unique_ptr<Executable>> make(std::vector<Axis> outer, Axis row, void (*copy)(std::byte*, const std::byte*, const Axis&)) {
    return std::unique_ptr<Executable>(std::make_unique<HostCopy>(std::move(outer), row, copy));
  }
};

}  // namespace

Executor* copy_executor() {
  static CopyExecutor executor;
  return &executor;
}

}  // namespace tuyere
