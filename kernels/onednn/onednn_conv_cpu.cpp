// SPDX-License-Identifier: Apache-2.0
#ifdef TUYERE_WITH_ONEDNN
#include <algorithm>
#include <optional>

#include "kernels/api/conv_blocks.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/onednn/dnnl_gemm.h"
#include "kernels/onednn/onednn_kernels.h"

namespace tuyere::cpu {
namespace {

// The weight without blocks: [O/b, C/groups, kernel..., b] -> [O, C/groups, kernel...]. False when its rows are not evenly spaced.
bool join_rows(View& w) {
  const int last = w.rank - 1;
  if (w.shape[0] != 1 && w.shape[last] != 1 && w.strides[0] != w.shape[last] * w.strides[last]) return false;
  if (w.shape[last] != 1) w.strides[0] = w.strides[last];
  w.shape[0] *= w.shape[last];
  --w.rank;
  return true;
}

// Weights as the library sees them: [groups,] out, in, kernel...
View library_weights(const View& w, const Conv& op) {
  View v;
  v.dtype = w.dtype;
  const auto push = [&v](int64_t size, int64_t stride) {
    v.shape[v.rank] = size;
    v.strides[v.rank++] = stride;
  };
  const int64_t rows = w.shape[0] / op.groups;
  if (op.groups > 1) push(op.groups, rows * w.strides[0]);
  if (op.transposed) {  // [C, O/groups, kernel...]
    push(w.shape[1], w.strides[1]);
    push(rows, w.strides[0]);
  } else {
    push(rows, w.strides[0]);
    push(w.shape[1], w.strides[1]);
  }
  for (int d = 2; d < w.rank; ++d) push(w.shape[d], w.strides[d]);
  return v;
}

struct Geometry {
  std::vector<int64_t> stride, dilation, before, after;
};
Geometry geometry(const Conv& op, const View& x, const View& w, const View& out) {
  Geometry g;
  const int spatial = static_cast<int>(op.stride.size());
  for (int d = 0; d < spatial; ++d) {
    g.stride.push_back(op.stride[d]);
    g.dilation.push_back(op.dilation[d] - 1);
    g.before.push_back(op.pad_before[d]);
    const int64_t extent = op.dilation[d] * (w.shape[w.rank - spatial + d] - 1) + 1;
    // A transposed convolution's output padding is a smaller padding at the end.
    g.after.push_back(op.transposed ? (x.shape[2 + d] - 1) * op.stride[d] + extent - op.pad_before[d] - out.shape[2 + d] : op.pad_after[d]);
  }
  return g;
}

std::optional<bool> inside(const View& v) {
  const auto rank = static_cast<size_t>(v.rank);
  return channels_inside({v.shape.data(), rank}, {v.strides.data(), rank});
}

void tidy_conv(View& v, bool single_inside) {
  const auto rank = static_cast<size_t>(v.rank);
  tidy_image({v.shape.data(), rank}, {v.strides.data(), rank}, single_inside);
}

// The library wants images in equal orders: a single channel lies as the other image's channels do, and row-major before channels in blocks.
void tidy_images(DnnlRequest& r) {
  const std::optional<bool> x = r.x_blocks ? std::nullopt : inside(r.x), out = r.out_blocks ? false : inside(r.out);
  r.single_inside = x.value_or(out.value_or(true));
  if (!r.x_blocks) tidy_conv(r.x, r.single_inside);
  if (r.out_blocks) return;
  tidy_conv(r.out, r.single_inside);
  for (View& v : r.extras) tidy_conv(v, r.single_inside);
}

// With channels innermost the library adds the products of an f32 sum up in one chain, over images in blocks it begins anew with every block of 16 channels, as
// eager's convolutions do. Parts of a sum read and write the output: a sum that stays within twice the bound on errors of eager is one, others are as eager's.
int64_t parts_of_conv(const DnnlRequest& r, const Conv& op) {
  constexpr int64_t kOneChain = 288, kShortSum = 144;
  const View& x = r.x;
  if (r.x_blocks || r.out_blocks || x.dtype != DType::F32 || r.w.dtype != DType::F32 || r.out.dtype != DType::F32 || x.strides[1] != 1) return 1;
  int64_t sum = 1;
  for (int d = r.sum_w; d < r.w.rank; ++d) sum *= r.w.shape[d];
  for (int64_t stride : op.stride) sum /= op.transposed ? stride : 1;
  return sum <= kOneChain ? 1 : (sum + kShortSum - 1) / kShortSum;
}

DnnlRequest conv_request(const CpuProblem& p) {
  const auto& op = attrs<Conv>(p);
  DnnlRequest r;
  r.x = View(p.args.in[0]);
  r.out = View(p.args.out[0]);
  View w(p.args.in[1]);
  const size_t spatial = conv_spatial(op, w.rank);
  r.x_blocks = in_blocks(r.x.rank, spatial);
  r.out_blocks = in_blocks(w.rank, spatial);
  INTERNAL_CHECK(!r.out_blocks || join_rows(w), "the rows of the weight are not evenly spaced");
  r.w = library_weights(w, op);
  for (int k = 2; k < p.inputs(); ++k) r.extras.push_back(View(p.args.in[k]).broadcast_to(r.out));
  tidy_images(r);
  r.epilogue = op.epilogue;
  r.channels_last = true;
  r.pack_weights = true;
  r.avoid_brgemm = p.config == "jit";
  r.bias_dims = {-1};
  r.sum_x = 1;
  r.sum_w = op.groups > 1 ? 2 : 1;
  r.groups = op.groups;
  r.parts = parts_of_conv(r, op);
  r.dense_parts = true;
  // With a residual the library's strided and grouped ones, and those over rows of an image, take 5 to 100 times as long.
  r.bias_only = op.transposed;
  const Geometry g = geometry(op, r.x, r.w, r.out);
  const auto make = op.transposed ? dnnl().deconvolution_forward_primitive_desc_create : dnnl().convolution_forward_primitive_desc_create;
  const auto kind = op.transposed ? dnnl_deconvolution_direct : dnnl_convolution_direct;
  r.create = [=](dnnl_primitive_desc_t* desc, const_dnnl_memory_desc_t x, const_dnnl_memory_desc_t w, const_dnnl_memory_desc_t bias,
                 const_dnnl_memory_desc_t out, const_dnnl_primitive_attr_t attr) {
    return make(desc, dnnl().cpu, dnnl_forward_inference, kind, x, w, bias, out, g.stride.data(), g.dilation.data(), g.before.data(), g.after.data(), attr);
  };
  return r;
}

View channels_last(const View& v) {
  View r = v;
  for (int d = 1; d < v.rank; ++d) {
    const int from = d + 1 < v.rank ? d + 1 : 1;
    r.shape[d] = v.shape[from];
    r.strides[d] = v.strides[from];
  }
  return r;
}

// A convolution with windows of one pixel as the product that it is, where sums are worth parts: those of a product are read where they lie.
std::optional<DnnlRequest> as_product(const DnnlRequest& conv, const Conv& op) {
  constexpr int64_t kPart = 256;
  const auto all = [](const auto& sizes, int64_t value) { return std::all_of(sizes.begin(), sizes.end(), [&](int64_t s) { return s == value; }); };
  if (conv.parts == 1 || !all(op.stride, 1) || !all(op.pad_before, 0) || !all(op.pad_after, 0)) return std::nullopt;
  View w = conv.w;
  for (int d = 2; d < w.rank; ++d)
    if (w.shape[d] != 1) return std::nullopt;
  w.shape.fill(1);
  w.strides.fill(0);
  const int inner = w.rank - 1;
  w.shape[inner - 1] = conv.w.shape[1], w.strides[inner - 1] = conv.w.strides[1];
  w.shape[inner] = conv.w.shape[0], w.strides[inner] = conv.w.strides[0];
  std::vector<View> extras;
  for (const View& v : conv.extras) extras.push_back(channels_last(v));
  DnnlRequest product = onednn_product(channels_last(conv.x), w, channels_last(conv.out), std::move(extras), op.epilogue);
  product.parts = std::max(product.parts, (conv.w.shape[1] + kPart - 1) / kPart);
  return product;
}

DnnlRequest library_request(const CpuProblem& p) {
  DnnlRequest request = conv_request(p);
  const auto product = as_product(request, attrs<Conv>(p));
  return product ? *product : std::move(request);
}

bool is_empty_conv(const CpuProblem& p) { return p.args.out[0].numel() == 0 || p.args.in[0].numel() == 0; }

}  // namespace

int64_t workspace_onednn_conv(const CpuProblem& p) { return is_empty_conv(p) ? 0 : DnnlGemm(library_request(p), p).workspace_bytes(); }

std::unique_ptr<Executable> prepare_onednn_conv(const CpuProblem& p) {
  if (is_empty_conv(p)) return prepare_kernel("reference.conv", p);
  return DnnlGemm(library_request(p), p).prepare(p);
}

}  // namespace tuyere::cpu
#endif
