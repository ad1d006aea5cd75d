// SPDX-License-Identifier: Apache-2.0
// own.<op>.tile: copies by size of element: reshape, permute, expand, slice, flip, concat, pad with a constant.
#include <array>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/reference.h"
#include "kernels/cpu/strided_copy.h"

namespace tuyere::cpu {
namespace {

// Copies step input `slot` (at an element offset) to the output (at an element offset); slot -1: from `constant`.
struct CopyPart {
  StridedCopy copy;
  int slot;
  int64_t in_bytes, out_bytes;
};

CopyPart copy_part(const View& out, const View& in, int slot, int64_t out_offset, int64_t in_offset) {
  const int64_t bytes = element_bytes(out.dtype);
  return {StridedCopy(out, in, bytes), slot, in_offset * bytes, out_offset * bytes};
}

std::unique_ptr<Executable> copies(std::vector<CopyPart> parts, int out_slot, std::array<char, 8> constant = {}) {
  return executable([parts = std::move(parts), out_slot, constant](void* const* ptr) {
    for (const CopyPart& p : parts) {
      const char* in = p.slot < 0 ? constant.data() : static_cast<const char*>(ptr[p.slot]) + p.in_bytes;
      p.copy.run(static_cast<char*>(ptr[out_slot]) + p.out_bytes, in);
    }
  });
}

// `v` with the sizes of `shape`, which hold the same elements in row-major order; v is contiguous.
View reshaped(const View& v, const View& shape) { return shape.dense(v.dtype); }

std::unique_ptr<Executable> prepare_reshape(const CpuProblem& p) {
  const View in(p.args.in[0]), out(p.args.out[0]);
  if (in.contiguous()) return copies({copy_part(out, reshaped(in, out), 0, 0, 0)}, 1);
  if (out.contiguous()) return copies({copy_part(reshaped(out, in), in, 0, 0, 0)}, 1);
  return prepare_kernel("reference.reshape", p);
}

std::unique_ptr<Executable> prepare_permute(const CpuProblem& p) {
  const View in(p.args.in[0]), out(p.args.out[0]);
  View source = out;
  for (int d = 0; d < out.rank; ++d) source.strides[d] = in.strides[normalize_axis(attrs<Permute>(p).perm[d], in.rank)];
  return copies({copy_part(out, source, 0, 0, 0)}, 1);
}

std::unique_ptr<Executable> prepare_expand(const CpuProblem& p) {
  const View out(p.args.out[0]);
  return copies({copy_part(out, View(p.args.in[0]).broadcast_to(out), 0, 0, 0)}, 1);
}

std::unique_ptr<Executable> prepare_slice(const CpuProblem& p) {
  const auto& op = attrs<Slice>(p);
  const View in(p.args.in[0]), out(p.args.out[0]);
  const int axis = normalize_axis(op.axis, in.rank);
  const int64_t start = p.args.symbols ? op.start.eval(*p.args.symbols) : op.start.value();
  View source = out;
  source.strides = in.strides;
  source.strides[axis] *= op.step;
  return copies({copy_part(out, source, 0, 0, start * in.strides[axis])}, 1);
}

std::unique_ptr<Executable> prepare_flip(const CpuProblem& p) {
  View in(p.args.in[0]);
  int64_t offset = 0;
  std::array<bool, kMaxRank> flipped{};
  for (int64_t a : attrs<Flip>(p).axes) flipped[normalize_axis(a, in.rank)] = true;
  for (int d = 0; d < in.rank; ++d) {
    if (!flipped[d]) continue;
    offset += std::max<int64_t>(0, in.shape[d] - 1) * in.strides[d];
    in.strides[d] = -in.strides[d];
  }
  return copies({copy_part(View(p.args.out[0]), in, 0, 0, offset)}, 1);
}

std::unique_ptr<Executable> prepare_concat(const CpuProblem& p) {
  const View out(p.args.out[0]);
  const int axis = normalize_axis(attrs<Concat>(p).axis, out.rank);
  std::vector<CopyPart> parts;
  int64_t start = 0;
  for (int k = 0; k < p.inputs(); ++k) {
    const View in(p.args.in[k]);
    View part = out;
    part.shape = in.shape;
    parts.push_back(copy_part(part, in, k, start * out.strides[axis], 0));
    start += in.shape[axis];
  }
  INTERNAL_CHECK(start == out.shape[axis], "concat of " << start << " into " << out.shape[axis]);
  return copies(std::move(parts), p.inputs());
}

// Pads dim by dim, the last one first: inside, every dim before the current one keeps to the copied part, every later one is complete already.
// Modes other than constant then copy positions of the output itself.
std::unique_ptr<Executable> prepare_pad(const CpuProblem& p) {
  const auto& op = attrs<Pad>(p);
  const View in(p.args.in[0]), out(p.args.out[0]);
  View inside = out, source = in;
  Ix lead{};
  int64_t to = 0, from = 0;
  for (int d = 0; d < out.rank; ++d) {
    const int64_t skip = std::max<int64_t>(0, -op.before[d]);
    lead[d] = std::max<int64_t>(0, op.before[d]);
    inside.shape[d] = source.shape[d] = std::clamp<int64_t>(in.shape[d] - skip, 0, std::max<int64_t>(0, out.shape[d] - lead[d]));
    if (op.mode != PadMode::constant && in.shape[d] != inside.shape[d]) return prepare_kernel("reference.pad", p);  // crops and pads at once
    to += lead[d] * out.strides[d];
    from += skip * in.strides[d];
  }
  std::array<char, 8> value{};
  store_from_double(out.dtype, value.data(), 0, op.value);
  std::vector<CopyPart> parts{copy_part(inside, source, 0, to, from)};
  View border = inside;
  for (int d = out.rank - 1; d >= 0; --d) {
    const int64_t size = inside.shape[d], stride = out.strides[d], base = to - lead[d] * stride;  // base: position 0 of dim d
    const auto add = [&](int64_t first, int64_t count, int64_t source_first, int64_t step) {
      if (count <= 0) return;
      border.shape[d] = count;
      View values = border;
      values.strides[d] = step * stride;
      if (op.mode == PadMode::constant) values.strides = {};
      const int64_t offset = op.mode == PadMode::constant ? 0 : base + source_first * stride;
      parts.push_back(copy_part(border, values, op.mode == PadMode::constant ? -1 : 1, base + first * stride, offset));
    };
    const int64_t after = out.shape[d] - lead[d] - size, end = lead[d] + size;
    switch (op.mode) {
      case PadMode::reflect:
        add(0, lead[d], 2 * lead[d], -1);
        add(end, after, end - 2, -1);
        break;
      case PadMode::circular:
        add(0, lead[d], size, 1);
        add(end, after, lead[d], 1);
        break;
      default:
        add(0, lead[d], lead[d], 0);
        add(end, after, end - 1, 0);
    }
    border.shape[d] = out.shape[d];
    to = base;
  }
  return copies(std::move(parts), 1, value);
}

}  // namespace

void add_layout_kernels(CpuKernelTable& table) {
  table.push_back({"own.reshape.tile", prepare_reshape});
  table.push_back({"own.permute.tile", prepare_permute});
  table.push_back({"own.expand.tile", prepare_expand});
  table.push_back({"own.slice.tile", prepare_slice});
  table.push_back({"own.flip.tile", prepare_flip});
  table.push_back({"own.concat.tile", prepare_concat});
  table.push_back({"own.pad.tile", prepare_pad});
}

}  // namespace tuyere::cpu
