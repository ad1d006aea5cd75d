// SPDX-License-Identifier: Apache-2.0
#ifdef TUYERE_WITH_ONEDNN
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/onednn/dnnl_api.h"
#include "kernels/onednn/onednn_kernels.h"

namespace tuyere::cpu {
namespace {

DnnlPrimitiveDesc make_pool(const CpuProblem& p) {
  const auto& op = attrs<Pool>(p);
  const TensorView &x = p.args.in[0], &y = p.args.out[0];
  const size_t spatial = op.kernel.size();
  std::vector<int64_t> dilation, before, after;
  for (size_t d = 0; d < spatial; ++d) {
    dilation.push_back(op.dilation.empty() ? 0 : op.dilation[d] - 1);
    before.push_back(op.pad.empty() ? 0 : op.pad[d]);
    const int64_t extent = (op.kernel[d] - 1) * (dilation[d] + 1) + 1;
    // ceil_mode lets the last window hang over by more than the padding.
    after.push_back(op.ceil_mode ? (y.shape[2 + d] - 1) * op.stride[d] + extent - x.shape[2 + d] - before[d] : before[d]);
  }
  const auto kind = op.kind == PoolKind::max ? dnnl_pooling_max : op.count_include_pad ? dnnl_pooling_avg_include_padding : dnnl_pooling_avg_exclude_padding;
  dnnl_primitive_attr_t attr = nullptr;
  dnnl_check(dnnl().primitive_attr_create(&attr), "primitive_attr_create");
  const DnnlAttr attr_owner(attr);
  dnnl_check(dnnl().primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user), "set_scratchpad_mode");
  dnnl_primitive_desc_t desc = nullptr;
  const DnnlDesc x_desc = make_image_desc(x.dtype, x.shape, x.strides), y_desc = make_image_desc(y.dtype, y.shape, y.strides);
  const dnnl_status_t status =
      dnnl().pooling_forward_primitive_desc_create(&desc, dnnl().cpu, dnnl_forward_inference, kind, x_desc.get(), y_desc.get(), op.stride.data(),
                                                   op.kernel.data(), dilation.data(), before.data(), after.data(), attr);
  USER_CHECK(status == dnnl_success, "oneDNN does not implement this pooling");
  return DnnlPrimitiveDesc(desc);
}

class PoolExecutable final : public Executable {
 public:
  PoolExecutable(DnnlPrimitiveDesc desc, int workspace_slot) : desc_(std::move(desc)), workspace_slot_(workspace_slot) {
    dnnl_primitive_t primitive = nullptr;
    dnnl_check(dnnl().primitive_create(&primitive, desc_.get()), "primitive_create");
    primitive_.reset(primitive);
    x_ = make_memory(dnnl().primitive_desc_query_md(desc_.get(), dnnl_query_src_md, 0));
    y_ = make_memory(dnnl().primitive_desc_query_md(desc_.get(), dnnl_query_dst_md, 0));
    const auto pad = dnnl().primitive_desc_query_md(desc_.get(), dnnl_query_scratchpad_md, 0);
    if (pad && dnnl().memory_desc_get_size(pad) > 0) scratch_ = make_memory(pad);
  }
  Status run(void* const* ptr, void*) noexcept override {
    dnnl().memory_set_data_handle(x_.get(), ptr[0]);
    dnnl().memory_set_data_handle(y_.get(), ptr[1]);
    if (scratch_) dnnl().memory_set_data_handle(scratch_.get(), ptr[workspace_slot_]);
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, x_.get()}, {DNNL_ARG_DST, y_.get()}, {DNNL_ARG_SCRATCHPAD, scratch_.get()}};
    const dnnl_status_t status = dnnl().primitive_execute(primitive_.get(), stream_.get(), scratch_ ? 3 : 2, args);
    return status == dnnl_success ? Status::ok() : Status(Code::Internal, "oneDNN pooling failed with status " + std::to_string(int{status}));
  }

 private:
  DnnlPrimitiveDesc desc_;
  DnnlPrimitive primitive_;
  DnnlMemory x_, y_, scratch_;
  DnnlStream stream_ = make_stream();
  int workspace_slot_;
};

}  // namespace

int64_t workspace_onednn_pool(const CpuProblem& p) {
  if (p.args.out[0].numel() == 0) return 0;
  const DnnlPrimitiveDesc desc = make_pool(p);
  const auto pad = dnnl().primitive_desc_query_md(desc.get(), dnnl_query_scratchpad_md, 0);
  return pad ? static_cast<int64_t>(dnnl().memory_desc_get_size(pad)) : 0;
}

std::unique_ptr<Executable> prepare_onednn_pool(const CpuProblem& p) {
  if (p.args.out[0].numel() == 0) return prepare_kernel("reference.pool", p);
  return std::make_unique<PoolExecutable>(make_pool(p), p.workspace_slot());
}

}  // namespace tuyere::cpu
#endif
