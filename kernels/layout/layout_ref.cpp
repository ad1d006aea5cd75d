// SPDX-License-Identifier: Apache-2.0
// Copies of elements, bit for bit: reshape, permute, expand, slice, concat, pad, flip.
#include "kernels/cpu/reference.h"

namespace tuyere::cpu {
namespace {

// Copies in -> out over the index space of `out`.
struct Copy {
  View out, in;
  int64_t in_offset = 0, out_offset = 0, bytes = 0;
  void operator()(void* const* ptr) const {
    for_each_index(out.rank, out.shape, [&](const Ix& i) { copy_element(ptr[1], out_offset + out.offset(i), ptr[0], in_offset + in.offset(i), bytes); });
  }
};

std::unique_ptr<Executable> prepare_reshape(const CpuProblem& p) {
  const View in(p.args.in[0]), out(p.args.out[0]);
  const int64_t bytes = element_bytes(out.dtype);
  INTERNAL_CHECK(in.numel() == out.numel(), "reshape from " << in.numel() << " to " << out.numel() << " elements");
  return executable([=](void* const* ptr) {
    Odometer from{in.rank, in.shape, {}};
    for_each_index(out.rank, out.shape, [&](const Ix& i) {
      copy_element(ptr[1], out.offset(i), ptr[0], in.offset(from.index), bytes);
      from.next();
    });
  });
}

std::unique_ptr<Executable> prepare_permute(const CpuProblem& p) {
  const auto& op = attrs<Permute>(p);
  const View in(p.args.in[0]), out(p.args.out[0]);
  View source = out;
  for (int d = 0; d < out.rank; ++d) source.strides[d] = in.strides[normalize_axis(op.perm[d], in.rank)];
  return executable(Copy{out, source, 0, 0, element_bytes(out.dtype)});
}

std::unique_ptr<Executable> prepare_expand(const CpuProblem& p) {
  const View out(p.args.out[0]);
  return executable(Copy{out, View(p.args.in[0]).broadcast_to(out), 0, 0, element_bytes(out.dtype)});
}

std::unique_ptr<Executable> prepare_slice(const CpuProblem& p) {
  const auto& op = attrs<Slice>(p);
  const View in(p.args.in[0]), out(p.args.out[0]);
  const int axis = normalize_axis(op.axis, in.rank);
  const int64_t start = p.args.symbols ? op.start.eval(*p.args.symbols) : op.start.value();
  View source = out;
  source.strides = in.strides;
  source.strides[axis] *= op.step;
  return executable(Copy{out, source, start * in.strides[axis], 0, element_bytes(out.dtype)});
}

std::unique_ptr<Executable> prepare_concat(const CpuProblem& p) {
  const auto& op = attrs<Concat>(p);
  const View out(p.args.out[0]);
  const int axis = normalize_axis(op.axis, out.rank);
  std::vector<Copy> parts;
  int64_t start = 0;
  for (const TensorView& t : p.args.in) {
    const View in(t);
    View part = in;
    part.strides = out.strides;
    parts.push_back({part, in, 0, start * out.strides[axis], element_bytes(out.dtype)});
    start += in.shape[axis];
  }
  INTERNAL_CHECK(start == out.shape[axis], "concat of " << start << " into " << out.shape[axis]);
  return executable([parts](void* const* ptr) {
    for (size_t k = 0; k < parts.size(); ++k) {
      void* const pair[2] = {ptr[k], ptr[parts.size()]};
      parts[k](pair);
    }
  });
}

// Position in a dim of `size` elements that padded position i (may be negative) reads; -1: the constant.
int64_t padded_source(int64_t i, int64_t size, PadMode mode) {
  if (i >= 0 && i < size) return i;
  switch (mode) {
    case PadMode::constant:
      return -1;
    case PadMode::replicate:
      return i < 0 ? 0 : size - 1;
    case PadMode::circular:
      return ((i % size) + size) % size;
    case PadMode::reflect:
      return i < 0 ? -i : 2 * (size - 1) - i;
  }
  return -1;
}

std::unique_ptr<Executable> prepare_pad(const CpuProblem& p) {
  const auto& op = attrs<Pad>(p);
  const View in(p.args.in[0]), out(p.args.out[0]);
  const int64_t bytes = element_bytes(out.dtype);
  return executable([=](void* const* ptr) {
    for_each_index(out.rank, out.shape, [&](const Ix& o) {
      Ix i{};
      bool inside = true;
      for (int d = 0; d < out.rank; ++d) {
        i[d] = padded_source(o[d] - op.before[d], in.shape[d], op.mode);
        inside &= i[d] >= 0;
      }
      if (inside) {
        copy_element(ptr[1], out.offset(o), ptr[0], in.offset(i), bytes);
      } else {
        out.store(ptr[1], o, op.value);
      }
    });
  });
}

std::unique_ptr<Executable> prepare_flip(const CpuProblem& p) {
  const auto& op = attrs<Flip>(p);
  const View in(p.args.in[0]), out(p.args.out[0]);
  Copy copy{out, in, 0, 0, element_bytes(out.dtype)};
  std::array<bool, kMaxRank> flipped{};
  for (int64_t a : op.axes) flipped[normalize_axis(a, in.rank)] = true;
  for (int d = 0; d < in.rank; ++d) {
    if (!flipped[d]) continue;
    copy.in_offset += (in.shape[d] - 1) * in.strides[d];
    copy.in.strides[d] = -in.strides[d];
  }
  return executable(copy);
}

}  // namespace

void add_layout_references(CpuKernelTable& table) {
  table.push_back({"reference.reshape", prepare_reshape});
  table.push_back({"reference.permute", prepare_permute});
  table.push_back({"reference.expand", prepare_expand});
  table.push_back({"reference.slice", prepare_slice});
  table.push_back({"reference.concat", prepare_concat});
  table.push_back({"reference.pad", prepare_pad});
  table.push_back({"reference.flip", prepare_flip});
}

}  // namespace tuyere::cpu
