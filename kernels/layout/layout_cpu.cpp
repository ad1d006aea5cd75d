// SPDX-License-Identifier: Apache-2.0
// own.layout.tile: copies by size of element, in cache-sized tiles: reshape, permute, expand, slice, flip, concat, pad with a constant.
#include <array>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/reference.h"
#include "kernels/pointwise/tile_loop.h"

namespace tuyere::cpu {
namespace {

// An integer type of the same size: bits travel unchanged.
DType carrier(DType type) {
  switch (element_bytes(type)) {
    case 1:
      return DType::U8;
    case 2:
      return DType::I16;
    case 4:
      return DType::I32;
    default:
      return DType::I64;
  }
}

// Copies step input `slot` (at an element offset) to the output (at an element offset); slot -1: from `constant`.
struct CopyPart {
  std::shared_ptr<TileLoop> loop;
  int slot;
  int64_t in_bytes, out_bytes;
};

CopyPart copy_part(View out, View in, int slot, int64_t out_offset, int64_t in_offset) {
  const int64_t bytes = element_bytes(out.dtype);
  out.dtype = in.dtype = carrier(out.dtype);
  TileProgram identity(Program(), {in.dtype}, {out.dtype});
  return {std::make_shared<TileLoop>(std::move(identity), out, std::vector<View>{out, in}, 1, 1), slot, in_offset * bytes, out_offset * bytes};
}

std::unique_ptr<Executable> copies(std::vector<CopyPart> parts, int out_slot, std::array<char, 8> constant = {}) {
  return executable([parts = std::move(parts), out_slot, constant](void* const* ptr) mutable {
    for (const CopyPart& p : parts) {
      char* in = p.slot < 0 ? constant.data() : static_cast<char*>(ptr[p.slot]) + p.in_bytes;
      void* const data[2] = {static_cast<char*>(ptr[out_slot]) + p.out_bytes, in};
      p.loop->run(data);
    }
  });
}

// `v` with the sizes of `shape`, which hold the same elements in row-major order; v is contiguous.
View reshaped(const View& v, const View& shape) {
  View r = shape;
  r.dtype = v.dtype;
  int64_t stride = 1;
  for (int d = r.rank - 1; d >= 0; --d) {
    r.strides[d] = stride;
    stride *= std::max<int64_t>(1, r.shape[d]);
  }
  return r;
}

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

std::unique_ptr<Executable> prepare_pad(const CpuProblem& p) {
  const auto& op = attrs<Pad>(p);
  if (op.mode != PadMode::constant) return prepare_kernel("reference.pad", p);
  const View in(p.args.in[0]), out(p.args.out[0]);
  View border = out, inside = out, source = in;
  border.strides = {};
  int64_t to = 0, from = 0;
  for (int d = 0; d < out.rank; ++d) {
    const int64_t skip = std::max<int64_t>(0, -op.before[d]), lead = std::max<int64_t>(0, op.before[d]);
    inside.shape[d] = source.shape[d] = std::max<int64_t>(0, std::min(in.shape[d] - skip, out.shape[d] - lead));
    to += lead * out.strides[d];
    from += skip * in.strides[d];
  }
  std::array<char, 8> value{};
  store_from_double(out.dtype, value.data(), 0, op.value);
  return copies({copy_part(out, border, -1, 0, 0), copy_part(inside, source, 0, to, from)}, 1, value);
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
