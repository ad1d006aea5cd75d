// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/reference.h"

namespace tuyere::cpu {
namespace {

struct RefConv {
  View x, w, out;
  Conv op;
  RefEpilogue epilogue;
  int spatial;
  int64_t group_in, group_out;  // channels per group
  Ix kernel{};

  RefConv(const Conv& conv, const CpuProblem& p)
      : x(p.args.in[0]), w(p.args.in[1]), out(p.args.out[0]), op(conv), epilogue(conv.epilogue, p, 2), spatial(x.rank - 2) {
    INTERNAL_CHECK(spatial >= 1 && w.rank == x.rank && out.rank == x.rank, "convolution of rank " << x.rank);
    group_in = x.shape[1] / op.groups;
    group_out = out.shape[1] / op.groups;
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
    const int64_t group = o[1] / group_out, channel = o[1] % group_out;
    double total = 0;
    for_each_index(spatial, kernel, [&](const Ix& k) {
      Ix xi{}, wi{};
      xi[0] = o[0];
      for (int d = 0; d < spatial; ++d) {
        if (!source(d, o[2 + d], k[d], &xi[2 + d])) return;
        wi[2 + d] = k[d];
      }
      for (int64_t c = 0; c < group_in; ++c) {
        xi[1] = group * group_in + c;
        wi[0] = op.transposed ? xi[1] : o[1];
        wi[1] = op.transposed ? channel : c;
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

}  // namespace

void add_conv_references(CpuKernelTable& table) { table.push_back({"reference.conv", prepare_conv}); }

}  // namespace tuyere::cpu
