// SPDX-License-Identifier: Apache-2.0
// onednn.conv_weight_gradient: the library's primitive; images that are not channels-last and the weight lie as it likes, and are reordered at each run.
// With windows of one pixel: a product.
#ifdef TUYERE_WITH_ONEDNN
#include <algorithm>
#include <array>
#include <optional>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/onednn/dnnl_api.h"
#include "kernels/onednn/dnnl_gemm.h"
#include "kernels/onednn/dnnl_views.h"
#include "kernels/onednn/onednn_kernels.h"

namespace tuyere::cpu {
namespace {

/// [groups,] O/groups, C/groups, kernel...
View grouped_weight(const View& w, int64_t groups) {
  if (groups == 1) return w;
  View v = w;
  v.rank = w.rank + 1;
  v.shape[0] = groups;
  v.shape[1] = w.shape[0] / groups;
  v.strides[0] = v.shape[1] * w.strides[0];
  v.strides[1] = w.strides[0];
  for (int d = 1; d < w.rank; ++d) {
    v.shape[d + 1] = w.shape[d];
    v.strides[d + 1] = w.strides[d];
  }
  return v;
}

/// One operand: how it lies, how the library wants it, and where that is.
struct GradientOperand {
  int id, slot;
  DnnlDesc here;
  const_dnnl_memory_desc_t wanted = nullptr;
  int64_t offset = -1;  // in the workspace; -1: in place
};

/// The primitive and the memory that it needs.
struct GradientPlan {
  DnnlPrimitiveDesc desc;
  std::array<GradientOperand, 3> operands;  // x, dy, dw
  int64_t scratch = -1, workspace = 0;
};

struct GradientGeometry {
  std::vector<int64_t> dilation, after;
};

GradientGeometry gradient_geometry(const ConvWeightGradient& op, const View& x, const View& dy) {
  GradientGeometry g;
  for (size_t d = 0; d < op.kernel.size(); ++d) {
    g.dilation.push_back(op.dilation[d] - 1);
    const int64_t extent = op.dilation[d] * (op.kernel[d] - 1) + 1;
    // What no window reaches is cut off by a smaller padding at the end.
    g.after.push_back((dy.shape[2 + d] - 1) * op.stride[d] + extent - x.shape[2 + d] - op.pad_before[d]);
  }
  return g;
}

/// Channels-last images as they lie, others as the library likes; as_it_likes: all of them. Null when there is no such primitive.
DnnlPrimitiveDesc try_gradient_primitive(const ConvWeightGradient& op, const View& x, const View& dy, const View& dw, bool as_it_likes) {
  const auto image = [&](const View& v) {
    const auto dims = dims_of(v), strides = strides_of(v);
    const bool inside = !as_it_likes && v.shape[1] > 1 && channels_inside(dims, strides).value_or(false);
    return inside ? make_image_desc(v.dtype, dims, strides) : make_desc(v.dtype, dims, {});
  };
  const DnnlDesc x_desc = image(x), dy_desc = image(dy), dw_desc = make_desc(DType::F32, dims_of(dw), {}), w_desc = make_desc(x.dtype, dims_of(dw), {});
  const GradientGeometry g = gradient_geometry(op, x, dy);
  dnnl_primitive_attr_t attr = nullptr;
  dnnl_check(dnnl().primitive_attr_create(&attr), "primitive_attr_create");
  const DnnlAttr attr_owner(attr);
  dnnl_check(dnnl().primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user), "set_scratchpad_mode");
  dnnl_primitive_desc_t hint = nullptr, desc = nullptr;
  dnnl_status_t status =
      dnnl().convolution_forward_primitive_desc_create(&hint, dnnl().cpu, dnnl_forward_training, dnnl_convolution_direct, x_desc.get(), w_desc.get(), nullptr,
                                                       dy_desc.get(), op.stride.data(), g.dilation.data(), op.pad_before.data(), g.after.data(), attr);
  if (status != dnnl_success) return nullptr;
  const DnnlPrimitiveDesc hint_owner(hint);
  status =
      dnnl().convolution_backward_weights_primitive_desc_create(&desc, dnnl().cpu, dnnl_convolution_direct, x_desc.get(), dw_desc.get(), nullptr, dy_desc.get(),
                                                                op.stride.data(), g.dilation.data(), op.pad_before.data(), g.after.data(), hint, attr);
  return status == dnnl_success ? DnnlPrimitiveDesc(desc) : nullptr;
}

DnnlPrimitiveDesc make_gradient_primitive(const ConvWeightGradient& op, const View& x, const View& dy, const View& dw) {
  const auto is_reference = [](const DnnlPrimitiveDesc& desc) { return implementation(desc.get()).find("ref") != std::string::npos; };
  DnnlPrimitiveDesc desc = try_gradient_primitive(op, x, dy, dw, false);
  if (!desc || is_reference(desc)) {
    DnnlPrimitiveDesc other = try_gradient_primitive(op, x, dy, dw, true);
    if (other && (!desc || !is_reference(other))) desc = std::move(other);
  }
  USER_CHECK(desc, "oneDNN does not implement this gradient");
  return desc;
}

GradientPlan make_gradient_plan(const CpuProblem& p) {
  const auto& op = attrs<ConvWeightGradient>(p);
  const View dy(p.args.in[0]), x(p.args.in[1]), dw = grouped_weight(View(p.args.out[0]), op.groups);
  GradientPlan plan{make_gradient_primitive(op, x, dy, dw), {}, -1, 0};
  const auto book = [&plan](int64_t bytes) {
    const int64_t at = plan.workspace;
    plan.workspace += aligned(bytes);
    return at;
  };
  const auto operand = [&](int id, int slot, const View& v) {
    GradientOperand o{id, slot, make_desc(v.dtype, dims_of(v), strides_of(v)), dnnl().primitive_desc_query_md(plan.desc.get(), dnnl_query_exec_arg_md, id)};
    if (!dnnl().memory_desc_equal(o.here.get(), o.wanted)) o.offset = book(static_cast<int64_t>(dnnl().memory_desc_get_size(o.wanted)));
    return o;
  };
  plan.operands = {operand(DNNL_ARG_SRC, 1, x), operand(DNNL_ARG_DIFF_DST, 0, dy), operand(DNNL_ARG_DIFF_WEIGHTS, 2, dw)};
  const auto pad = dnnl().primitive_desc_query_md(plan.desc.get(), dnnl_query_scratchpad_md, 0);
  if (pad && dnnl().memory_desc_get_size(pad) > 0) plan.scratch = book(static_cast<int64_t>(dnnl().memory_desc_get_size(pad)));
  return plan;
}

class WeightGradient final : public Executable {
 public:
  WeightGradient(GradientPlan plan, int workspace_slot) : plan_(std::move(plan)), workspace_slot_(workspace_slot) {
    primitive_ = make(plan_.desc.get());
    for (GradientOperand& o : plan_.operands) {
      Call& call = calls_.emplace_back();
      call.here = make_memory(o.here.get());
      if (o.offset < 0) continue;
      call.there = make_memory(o.wanted);
      const bool output = o.id == DNNL_ARG_DIFF_WEIGHTS;
      const const_dnnl_memory_desc_t from = output ? o.wanted : o.here.get(), to = output ? o.here.get() : o.wanted;
      dnnl_primitive_desc_t desc = nullptr;
      dnnl_check(dnnl().reorder_primitive_desc_create(&desc, from, dnnl().cpu, to, dnnl().cpu, nullptr), "reorder_primitive_desc_create");
      const DnnlPrimitiveDesc owner(desc);
      call.reorder = make(desc);
    }
    if (plan_.scratch >= 0) scratch_ = make_memory(dnnl().primitive_desc_query_md(plan_.desc.get(), dnnl_query_scratchpad_md, 0));
  }

  Status run(void* const* ptr, void*) noexcept override {
    char* workspace = plan_.workspace > 0 ? static_cast<char*>(ptr[workspace_slot_]) : nullptr;
    for (size_t k = 0; k < calls_.size(); ++k) {
      dnnl().memory_set_data_handle(calls_[k].here.get(), ptr[plan_.operands[k].slot]);
      if (calls_[k].there) dnnl().memory_set_data_handle(calls_[k].there.get(), workspace + plan_.operands[k].offset);
    }
    if (scratch_) dnnl().memory_set_data_handle(scratch_.get(), workspace + plan_.scratch);
    for (size_t k = 0; k < 2; ++k) TRY(reorder(k, false));
    std::array<dnnl_exec_arg_t, 4> args{};
    for (size_t k = 0; k < 3; ++k) args[k] = {plan_.operands[k].id, (calls_[k].there ? calls_[k].there : calls_[k].here).get()};
    args[3] = {DNNL_ARG_SCRATCHPAD, scratch_.get()};
    TRY(status(dnnl().primitive_execute(primitive_.get(), stream_.get(), scratch_ ? 4 : 3, args.data())));
    return reorder(2, true);
  }

 private:
  struct Call {
    DnnlMemory here, there;
    DnnlPrimitive reorder;
  };

  static DnnlPrimitive make(const_dnnl_primitive_desc_t desc) {
    dnnl_primitive_t primitive = nullptr;
    dnnl_check(dnnl().primitive_create(&primitive, desc), "primitive_create");
    return DnnlPrimitive(primitive);
  }
  static Status status(dnnl_status_t code) {
    return code == dnnl_success ? Status::ok() : Status(Code::Internal, "oneDNN's weight gradient failed with status " + std::to_string(int{code}));
  }
  Status reorder(size_t k, bool output) {
    const Call& call = calls_[k];
    if (!call.there) return Status::ok();
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, (output ? call.there : call.here).get()}, {DNNL_ARG_TO, (output ? call.here : call.there).get()}};
    return status(dnnl().primitive_execute(call.reorder.get(), stream_.get(), 2, args));
  }

  GradientPlan plan_;
  int workspace_slot_;
  DnnlPrimitive primitive_;
  std::vector<Call> calls_;
  DnnlMemory scratch_;
  DnnlStream stream_ = make_stream();
};

// [pixels, C] of an image whose pixels are evenly spaced: channels side by side, or one image, row-major.
std::optional<View> pixels_of(const View& image) {
  View v;
  v.dtype = image.dtype;
  v.rank = 2;
  v.shape[0] = 1;
  v.shape[1] = image.shape[1], v.strides[1] = image.strides[1];
  for (int d = image.rank - 1; d >= 0; --d) {
    if (d == 1 || image.shape[d] == 1) continue;
    if (v.shape[0] == 1) v.strides[0] = image.strides[d];
    if (image.strides[d] != v.strides[0] * v.shape[0]) return std::nullopt;
    v.shape[0] *= image.shape[d];
  }
  if (image.shape[1] > 1 && image.strides[1] != 1 && v.shape[0] > 1 && v.strides[0] != 1) return std::nullopt;
  return v;
}

// Of a convolution with windows of one pixel: a product, whose sum over all pixels is taken in parts. Eager's begins anew with every image.
std::optional<DnnlRequest> gradient_as_product(const CpuProblem& p) {
  constexpr int64_t kPart = 192, kMostPixels = 4096;
  const auto& op = attrs<ConvWeightGradient>(p);
  const auto all = [](const std::vector<int64_t>& sizes, int64_t value) {
    return std::all_of(sizes.begin(), sizes.end(), [&](int64_t s) { return s == value; });
  };
  View dw(p.args.out[0]);
  if (op.groups != 1 || !all(op.kernel, 1) || !all(op.stride, 1) || !all(op.pad_before, 0) || !all(op.pad_after, 0)) return std::nullopt;
  const std::optional<View> dy = pixels_of(View(p.args.in[0])), x = pixels_of(View(p.args.in[1]));
  if (!dy || !x || x->dtype != DType::F32 || dw.dtype != DType::F32) return std::nullopt;
  dw.rank = 2;
  DnnlRequest product = onednn_product(dy->transposed(), *x, dw, {}, {});
  const int64_t pixels = x->shape[0];
  if (pixels <= kMostPixels) product.parts = std::max(product.parts, (pixels + kPart - 1) / kPart);
  return product;
}

bool is_empty_gradient(const CpuProblem& p) { return p.args.in[0].numel() == 0 || p.args.in[1].numel() == 0 || p.args.out[0].numel() == 0; }

}  // namespace

int64_t workspace_onednn_weight_gradient(const CpuProblem& p) {
  if (is_empty_gradient(p)) return 0;
  const std::optional<DnnlRequest> product = gradient_as_product(p);
  return product ? DnnlGemm(*product, p).workspace_bytes() : make_gradient_plan(p).workspace;
}

std::unique_ptr<Executable> prepare_onednn_weight_gradient(const CpuProblem& p) {
  if (is_empty_gradient(p)) return prepare_kernel("reference.conv_weight_gradient", p);
  if (const std::optional<DnnlRequest> product = gradient_as_product(p)) return DnnlGemm(*product, p).prepare(p);
  return std::make_unique<WeightGradient>(make_gradient_plan(p), p.workspace_slot());
}

}  // namespace tuyere::cpu
#endif
