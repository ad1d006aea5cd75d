// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/conv_blocks.h"
#include "kernels/conv/conv_kernels.h"
#include "kernels/cpu/reference.h"

namespace tuyere::cpu {
namespace {

struct RefConv {
  View x, w, out;
  Conv op;
  RefEpilogue epilogue;
  int spatial;
  bool x_blocks, out_blocks;    // kernels/api/conv_blocks.h
  int64_t group_in, group_out;  // channels per group
  Ix kernel{};

  RefConv(const Conv& conv, const CpuProblem& p) : x(p.args.in[0]), w(p.args.in[1]), out(p.args.out[0]), op(conv), epilogue(conv.epilogue, p, 2) {
    spatial = static_cast<int>(conv_spatial(op, w.rank));
    x_blocks = in_blocks(x.rank, spatial);
    out_blocks = in_blocks(out.rank, spatial);
    INTERNAL_CHECK(spatial >= 1 && w.rank == out.rank && (x_blocks || x.rank == spatial + 2), "convolution of ranks " << x.rank << " and " << w.rank);
    group_in = x.shape[1] * (x_blocks ? x.shape[x.rank - 1] : 1) / op.groups;
    group_out = out.shape[1] * (out_blocks ? out.shape[out.rank - 1] : 1) / op.groups;
    for (int d = 0; d < spatial; ++d) kernel[d] = w.shape[2 + d];
  }

  // The input position that kernel tap k of output position o reads; false when there is none.
  bool source(int d, int64_t o, int64_t k, int64_t* i) const {
    if (!op.transposed) {
      *i = o * op.stride[d] - op.pad_before[d] + k * op.dilation[d];
    } else {
      const int64_t t = o + op.pad_before[d] - k * op.dilation[d];
      if (t < 0 || t % op.stride[d] != 0) return false;
      *i = t / op.stride[d];
    }
    return *i >= 0 && *i < x.shape[2 + d];
  }

  double sum(void* const* ptr, const Ix& o) const {
    const int last = out.rank - 1;
    const int64_t out_channel = out_blocks ? o[1] * out.shape[last] + o[last] : o[1], group = out_channel / group_out, channel = out_channel % group_out;
    double total = 0;
    for_each_index(spatial, kernel, [&](const Ix& k) {
      Ix xi{}, wi{};
      xi[0] = o[0];
      for (int d = 0; d < spatial; ++d) {
        if (!source(d, o[2 + d], k[d], &xi[2 + d])) return;
        wi[2 + d] = k[d];
      }
      for (int64_t c = 0; c < group_in; ++c) {
        const int64_t in_channel = group * group_in + c;
        xi[1] = x_blocks ? in_channel / x.shape[x.rank - 1] : in_channel;
        if (x_blocks) xi[x.rank - 1] = in_channel % x.shape[x.rank - 1];
        wi[0] = op.transposed ? in_channel : o[1];
        wi[1] = op.transposed ? channel : c;
        if (out_blocks) wi[last] = o[last];
        total += x.load(ptr[0], xi) * w.load(ptr[1], wi);
      }
    });
    return total;
  }

  void operator()(void* const* ptr) {
    for_each_index(out.rank, out.shape, [&](const Ix& o) { epilogue.store(ptr, o, sum(ptr, o)); });
  }
};

std::unique_ptr<Executable> prepare_conv(const CpuProblem& p) { return executable(RefConv(attrs<Conv>(p), p)); }

struct RefConvWeightGradient {
  View dy, x, dw;
  ConvWeightGradient op;

  RefConvWeightGradient(const ConvWeightGradient& o, const CpuProblem& p) : dy(p.args.in[0]), x(p.args.in[1]), dw(p.args.out[0]), op(o) {}

  double sum(void* const* ptr, const Ix& w) const {
    Ix positions = dy.shape;
    positions[1] = 1;
    double total = 0;
    for_each_index(dy.rank, positions, [&](const Ix& at) {
      Ix from = at, to = at;
      from[1] = w[0] / (dw.shape[0] / op.groups) * dw.shape[1] + w[1];
      to[1] = w[0];
      for (int d = 2; d < dy.rank; ++d) {
        from[d] = at[d] * op.stride[d - 2] - op.pad_before[d - 2] + w[d] * op.dilation[d - 2];
        if (from[d] < 0 || from[d] >= x.shape[d]) return;
      }
      total += dy.load(ptr[0], to) * x.load(ptr[1], from);
    });
    return total;
  }

  void operator()(void* const* ptr) const {
    for_each_index(dw.rank, dw.shape, [&](const Ix& w) { dw.store(ptr[2], w, sum(ptr, w)); });
  }
};

std::unique_ptr<Executable> prepare_weight_gradient(const CpuProblem& p) { return executable(RefConvWeightGradient(attrs<ConvWeightGradient>(p), p)); }

}  // namespace

void add_conv_references(CpuKernelTable& table) {
  table.push_back({"reference.conv", prepare_conv});
  table.push_back({"reference.conv_weight_gradient", prepare_weight_gradient});
  add_expanded_depthwise_references(table);
}

}  // namespace tuyere::cpu
