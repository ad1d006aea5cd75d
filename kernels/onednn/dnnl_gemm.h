// SPDX-License-Identifier: Apache-2.0
// The common shell of matmul and convolution over oneDNN: picks how to call the library (epilogue fused or not, operands as they lie or
// staged in the workspace, native or f32), packs constant weights once and others at each run, and runs what the library did not take.
#pragma once
#ifdef TUYERE_WITH_ONEDNN
#include <functional>
#include <memory>
#include <vector>

#include "kernels/cpu/cpu_kernel.h"
#include "kernels/cpu/views.h"
#include "kernels/onednn/dnnl_api.h"
#include "kernels/pointwise/tile_loop.h"

namespace tuyere::cpu {

/// Makes the primitive descriptor; false when the library does not implement it.
using DnnlCreate = std::function<dnnl_status_t(dnnl_primitive_desc_t*, const_dnnl_memory_desc_t x, const_dnnl_memory_desc_t w, const_dnnl_memory_desc_t bias,
                                               const_dnnl_memory_desc_t out, const_dnnl_primitive_attr_t attr)>;

/// The operands in the library's dimension order. Step inputs are x, w, extras; the output follows.
struct DnnlRequest {
  View x, w, out;
  bool x_blocks = false, out_blocks = false;  // the last dim belongs to dim 1: channels in blocks
  std::vector<View> extras;                   // epilogue inputs beyond 0, broadcast to out (stride 0)
  Program epilogue;
  int channel = 1;                 // the dim of out that a bias runs along
  bool channels_last = false;      // staged layout of x and out: channels innermost, otherwise row-major
  bool single_inside = true;       // a single channel of x has the stride of channels innermost, otherwise the row-major one
  std::vector<int64_t> bias_dims;  // dims of the bias descriptor (one of them -1: the channels)
  DnnlCreate create;
  bool bias_only = false;     // of an epilogue the library may take a bias alone
  bool pack_weights = false;  // the library chooses how weights lie also when they are not constant: they are packed at each run
  int sum_x = 0, sum_w = 0;   // the dims of x and w that products are added up along
  int64_t groups = 1;         // of channels of x, along sum_x: each has sums of its own (then sum_w says where one group's lie)
  bool dense_parts = false;   // the library takes parts of x from dense memory only: they are copied there
  int64_t parts = 1;          // of them, for f32: added up one by one, then together, which is more exact
  bool avoid_brgemm = false;  // take the library's first implementation that is not made of batched small GEMMs, when there is one
};

/// out = x w, over the last two dims of all, which have one rank; batch dims of x and w may have size 1.
DnnlRequest onednn_product(const View& x, const View& w, const View& out, std::vector<View> extras, const Program& epilogue);

class DnnlGemm {
 public:
  /// Chooses the call. Throws when the library implements none.
  DnnlGemm(DnnlRequest request, const CpuProblem& p);
  int64_t workspace_bytes() const { return workspace_; }
  std::unique_ptr<Executable> prepare(const CpuProblem& p);

 private:
  enum class Staged : uint8_t { none, input, both };  // operands that are dense in the workspace; input: x in row-major order
  struct Attempt {
    DType type;  // of x and w in the library
    Staged staged;
    bool fused;  // epilogue as post-ops
  };
  struct Stage {
    View view;  // in the workspace
    int64_t offset = -1;
    bool used() const { return offset >= 0; }
  };
  struct Part {
    int64_t start, size;  // of the dim that is summed over; the last one applies the epilogue
    DnnlPrimitiveDesc desc;
    DnnlPrimitiveDesc pack = nullptr;  // of weights that are packed at each run
    int64_t pack_offset = 0;           // of the packed weights in the workspace
  };
  bool find_attempt(const CpuProblem& p, bool reference);
  std::vector<Attempt> attempts(const CpuProblem& p) const;
  bool try_attempt(const Attempt& attempt, const CpuProblem& p);
  std::vector<Part> split(bool f32) const;
  bool describe_part(Part& part, const Attempt& attempt, const View& out);
  DnnlAttr make_attr(bool fused, bool adds);
  void plan_pack(Part& part);
  View part_of_weights(const Part& part) const;
  View part_of_image(const Part& part) const;
  bool copies_parts() const { return request_.dense_parts && parts_.size() > 1; }
  int64_t scratch_bytes() const;
  DnnlPrimitiveDesc first_implementation(const std::function<dnnl_status_t(dnnl_primitive_desc_t*)>& create) const;
  Stage book(const View& v, DType type, bool channels_last, bool blocks = false);

  DnnlRequest request_;
  bool constant_weights_;
  bool simple_ = false;            // the epilogue is one the library may take
  int bias_ = -1, residual_ = -1;  // extras
  bool residual_last_ = false;     // after the activation
  std::vector<std::pair<dnnl_alg_kind_t, std::pair<float, float>>> activation_;
  std::vector<Part> parts_;
  Attempt chosen_{};
  Stage x_stage_, w_stage_, out_stage_;
  int64_t part_offset_ = 0;  // of the copied part of x
  int64_t workspace_ = 0;
};

}  // namespace tuyere::cpu
#endif
