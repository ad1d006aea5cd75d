// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv_view.h"

namespace tuyere::conv {

std::optional<Dim> pixel_step(const View& v) {
  if (v.taps() != 1 || v.padded || v.transposed || v.groups != 1) return std::nullopt;
  for (int64_t stride : v.stride)
    if (stride != 1) return std::nullopt;
  std::vector<Dim> sizes{v.batch, v.in[0], v.in[1], v.in[2]}, strides{v.x_batch, v.x_space[0], v.x_space[1], v.x_space[2]};
  for (int outer = 2; outer >= 0; --outer)
    if (!mma::merge_coordinates(sizes, {&strides}, outer)) return std::nullopt;
  return strides[0];
}

mma::StreamSize stream_size(const Problem& problem, const View& v) {
  return {mma::hint(v.pixel_count(), problem.hints), v.out_group, v.in_group, 1, mma::size_of(v.type), traffic(problem)};
}

mma::KernelSource stream_source(const Problem& problem, const Target& target, const mma::StreamShape& shape) {
  const View v = view(problem);
  mma::KernelParams params;
  mma::StreamText text;
  text.shape = shape;
  text.size = stream_size(problem, v);
  text.dtype = v.type;
  text.a = {0, v.type, *pixel_step(v), v.x_channel, {}, v.x_alignment};
  text.b = {1, v.type, v.w_out, 1, {}, v.w_alignment};
  text.m = v.pixel_count();
  text.a_base = params.pointer(0, v.type, false), text.b_base = params.pointer(1, v.type, false);
  text.constant_weights = problem.in[1].constant;
  text.width = mma::epilogue_width(v.outs);
  text.epilogue = mma::emit_epilogue(epilogue(v, text.width), params);
  text.store_coords = coords(v, params, "m", "n");
  return mma::stream_source(text, params, mma::needs_wide(problem), target);
}

}  // namespace tuyere::conv
