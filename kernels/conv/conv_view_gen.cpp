// SPDX-License-Identifier: Apache-2.0
#include "kernels/conv/conv_view.h"

namespace tuyere::conv {
namespace {

/// Strides of a tensor that broadcasts against [N, O, spatial...], as [n, d, h, w, o].
mma::EpilogueTensor tensor(const TensorDesc& t, int position, const Shape& shape) {
  const std::vector<Dim> s = codegen::broadcast_strides(t, shape);
  const size_t rank = shape.size() - 2;
  std::vector<Dim> strides{s[0], 0, 0, 0, s[1]};
  for (size_t d = 0; d < rank; ++d) strides[4 - rank + d] = s[2 + d];
  return {position, t.dtype, strides, t.alignment};
}

void spatial(View& v, const Problem& p, const Conv& op) {
  const TensorDesc &x = p.in[0], &w = p.in[1];
  const size_t rank = x.shape.size() - 2;
  for (size_t d = 0; d < 3; ++d) {
    v.in[d] = 1, v.out[d] = 1, v.kernel[d] = 1, v.stride[d] = 1, v.pad[d] = 0, v.dilation[d] = 1, v.x_space[d] = 0, v.w_space[d] = 0;
    if (d < 3 - rank) continue;
    const size_t i = d - (3 - rank);
    v.in[d] = x.shape[2 + i], v.out[d] = p.out[0].shape[2 + i];
    v.kernel[d] = w.shape[2 + i].value();
    v.stride[d] = op.stride[i], v.pad[d] = op.pad_before[i], v.dilation[d] = op.dilation[i];
    v.padded = v.padded || op.pad_before[i] != 0 || op.pad_after[i] != 0;
    v.x_space[d] = x.strides[2 + i], v.w_space[d] = w.strides[2 + i];
  }
}

}  // namespace

View view(const Problem& p) {
  const Conv& op = std::get<Conv>(p.op);
  const TensorDesc &x = p.in[0], &w = p.in[1];
  View v;
  v.batch = x.shape[0];
  v.transposed = op.transposed;
  v.groups = op.groups;
  v.in_group = x.shape[1].value() / op.groups, v.out_group = p.out[0].shape[1].value() / op.groups;
  v.type = x.dtype;
  v.x_alignment = x.alignment, v.w_alignment = w.alignment;
  v.x_batch = x.strides[0], v.x_channel = x.strides[1];
  v.w_out = w.strides[0], v.w_in = w.strides[1];
  spatial(v, p, op);
  v.epilogue = op.epilogue;
  v.accumulator = x.dtype == DType::F64 ? DType::F64 : is_float(x.dtype) ? DType::F32 : DType::I64;
  const int inputs = static_cast<int>(p.in.size());
  for (int i = 2; i < inputs; ++i) v.extras.push_back(tensor(p.in[i], i, p.out[0].shape));
  for (size_t i = 0; i < p.out.size(); ++i) v.outs.push_back(tensor(p.out[i], inputs + static_cast<int>(i), p.out[0].shape));
  std::vector<Dim> sizes{v.batch, v.out[0], v.out[1], v.out[2], p.out[0].shape[1]};
  std::vector<std::vector<Dim>*> sets;
  for (auto* list : {&v.extras, &v.outs})
    for (mma::EpilogueTensor& t : *list) sets.push_back(&t.strides);
  for (int i = 2; i >= 0; --i) mma::merge_coordinates(sizes, sets, i);
  v.pixels.assign(sizes.begin(), sizes.end() - 1);
  return v;
}

mma::Epilogue epilogue(const View& v, int width) {
  mma::Epilogue e;
  e.program = v.epilogue;
  e.acc = v.accumulator;
  e.extras = v.extras, e.outs = v.outs;
  e.coords = static_cast<int>(v.pixels.size()) + 1;
  e.vec = e.coords - 1;
  e.width = width;
  e.aligned = v.groups == 1 || v.out_group == 1 || v.out_group % width == 0;
  return e;
}

std::string coords(const View& v, mma::KernelParams& params, const std::string& pixel, const std::string& channel) {
  std::string text, rest = pixel;
  for (size_t i = v.pixels.size(); i-- > 0;) {
    const std::string size = params.size(v.pixels[i]);
    text = (i ? rest + " % " + size : rest) + ", " + text;
    rest = "(" + rest + ") / " + size;
  }
  return text + channel;
}

void add_spatial_vars(const View& v, mma::KernelParams& params, int first, codegen::Vars& vars) {
  for (int d = first; d < 3; ++d) {
    const std::string a(1, "DHW"[d]);
    vars.insert(vars.end(), {{"O" + a, params.size(v.out[d])},
                             {"I" + a, params.size(v.in[d])},
                             {"K" + a, std::to_string(v.kernel[d])},
                             {"S" + a, std::to_string(v.stride[d])},
                             {"P" + a, std::to_string(v.pad[d])},
                             {"D" + a, std::to_string(v.dilation[d])},
                             {"X" + a, params.offset(v.x_space[d])},
                             {"W" + a, params.offset(v.w_space[d])}});
  }
}

double traffic(const Problem& p) {
  double bytes = 0;
  for (const auto* list : {&p.in, &p.out})
    for (const TensorDesc& t : *list) bytes += static_cast<double>(mma::hint(numel(t.shape), p.hints)) * mma::size_of(t.dtype);
  return bytes;
}

}  // namespace tuyere::conv
