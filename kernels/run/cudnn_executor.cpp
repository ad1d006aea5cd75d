// SPDX-License-Identifier: Apache-2.0
// "cudnn" steps: one operation graph, then what it could not say as a kernel of our own.
#ifdef TUYERE_WITH_CUDA
#include <algorithm>
#include <functional>
#include <numeric>

#include "kernels/api/cuda_step.h"
#include "kernels/run/cuda_driver.h"
#include "kernels/run/cudnn_plan.h"
#include "kernels/run/executors.h"
#include "kernels/run/plan_cache.h"

namespace tuyere {
namespace {

using PlanPtr = std::shared_ptr<const CudnnPlan>;

/// Plans by device, sizes and step: room for all that are compiled before any is timed.
PlanCache<const CudnnPlan>& plans() {
  static auto* const cache = new PlanCache<const CudnnPlan>(16384);
  return *cache;
}

std::string plan_key(CudnnStep step, const CudnnSizes& sizes, int device) {
  std::string key = std::to_string(device);
  for (const CudnnSizes::Tensor& tensor : sizes.tensors)
    for (const std::vector<int64_t>* list : {&tensor.dims, &tensor.strides})
      for (int64_t value : *list) key += "," + std::to_string(value);
  step.then.clear();
  return key + to_json(step);
}

/// The device must be current.
Result<PlanPtr> find_plan(const CudnnStep& step, const CudnnSizes& sizes, int device, bool strict) {
  const std::string key = plan_key(step, sizes, device);
  if (PlanPtr known = plans().find(key)) return known;
  TRY_ASSIGN(const Cudnn* api, cudnn());
  TRY_ASSIGN(const cudnnHandle_t handle, api->handle(device));
  TRY_ASSIGN(PlanPtr plan, build_plan(*api, handle, step, sizes, strict));
  plans().add(key, plan);
  return plan;
}

/// What remains of a step without elements. The gradient of a weight by no images is zero.
Result<std::unique_ptr<Executable>> prepare_empty(const CudnnStep& step, const CudnnSizes& sizes, const PrepareArgs& args) {
  if (!step.weight_gradient) return std::unique_ptr<Executable>(new EmptyExecutable);
  const CudnnTensor& gradient = step.tensors[step.w];
  const std::vector<int64_t>& dims = sizes.tensors[step.w].dims;
  const int64_t bytes = bytes_of(gradient.dtype, std::accumulate(dims.begin(), dims.end(), int64_t{1}, std::multiplies<>()));
  KernelLaunch zeros;
  zeros.args = {KernelArg::ptr(gradient.position), KernelArg::int64(bytes)};
  return cuda_executor()->prepare({"cuda", to_json(CudaStep{{zeros}}), {}, 0}, args);
}

/// A plan and where its tensors are. cuDNN wants a new variant pack for new addresses; while they stay the same, run() only executes.
class CudnnExecutable final : public Executable {
 public:
  CudnnExecutable(const Cudnn& api, int device, PlanPtr plan, size_t workspace_at, std::unique_ptr<Executable> then)
      : api_(api), device_(device), plan_(std::move(plan)), workspace_at_(workspace_at), then_(std::move(then)), addresses_(plan_->positions.size()) {
    uids_ = plan_->uids;
    uids_.insert(uids_.end(), plan_->graph->scalar_uids.begin(), plan_->graph->scalar_uids.end());
  }

  Status run(void* const* pointers, void* stream) noexcept override {
    TRY_ASSIGN(const cudnnHandle_t handle, api_.handle(device_));
    TRY(api_.check(api_.set_stream(handle, static_cast<cudaStream_t>(stream)), "cudnnSetStream"));
    TRY(bind(pointers));
    TRY(api_.check(api_.execute(handle, plan_->plan.raw(), pack_.raw()), "cudnnBackendExecute"));
    return then_ ? then_->run(pointers, stream) : Status::ok();
  }

 private:
  Status bind(void* const* pointers) noexcept {
    void* workspace = plan_->workspace > 0 ? pointers[workspace_at_] : nullptr;
    bool same = pack_.raw() && workspace == workspace_;
    for (size_t i = 0; i < addresses_.size() && same; ++i) same = addresses_[i] == pointers[plan_->positions[i]];
    if (same) return Status::ok();
    for (size_t i = 0; i < addresses_.size(); ++i) addresses_[i] = pointers[plan_->positions[i]];
    workspace_ = workspace;
    pack_ = CudnnDescriptor();
    TRY_ASSIGN(CudnnDescriptor pack, CudnnDescriptor::make(api_, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR));
    std::vector<void*> data = addresses_;
    for (const float& scalar : plan_->graph->scalars) data.push_back(const_cast<float*>(&scalar));
    TRY(pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, static_cast<int64_t>(data.size()), data.data()));
    TRY(pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, static_cast<int64_t>(uids_.size()), uids_.data()));
    TRY(pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace_));
    TRY(pack.finalize("cuDNN variant pack"));
    pack_ = std::move(pack);
    return Status::ok();
  }

  const Cudnn& api_;
  int device_;
  PlanPtr plan_;
  size_t workspace_at_;
  std::unique_ptr<Executable> then_;
  std::vector<int64_t> uids_;     // of the tensors in memory, then of the graph's scalars
  std::vector<void*> addresses_;  // of the tensors in memory
  void* workspace_ = nullptr;
  CudnnDescriptor pack_;
};

class CudnnExecutor final : public Executor {
 public:
  Result<std::unique_ptr<Executable>> prepare(const StepSpec& spec, const PrepareArgs& args) override {
    CudaContextScope scope(args.device);
    TRY(scope.status());
    TRY_ASSIGN(const CudnnStep step, parse_cudnn_step(spec.attrs));
    TRY_ASSIGN(const CudnnSizes sizes, concrete_sizes(step, args.known_symbols()));
    if (sizes.empty()) return prepare_empty(step, sizes, args);
    const size_t workspace_at = args.in.size() + args.out.size();
    for (const CudnnTensor& tensor : step.tensors)
      if (tensor.position >= static_cast<int>(workspace_at)) return Status(Code::DataLoss, "a cudnn step names tensor " + std::to_string(tensor.position));
    TRY_ASSIGN(const Cudnn* api, cudnn());
    TRY_ASSIGN(PlanPtr plan, find_plan(step, sizes, args.device, false));
    std::unique_ptr<Executable> then;
    if (!step.then.empty()) {
      const StepSpec kernels{"cuda", step.then, spec.blobs, 0};
      TRY_ASSIGN(then, cuda_executor()->prepare(kernels, args));
    }
    return std::unique_ptr<Executable>(new CudnnExecutable(*api, args.device, std::move(plan), workspace_at, std::move(then)));
  }

  Result<int64_t> workspace(const StepSpec& spec, const PrepareArgs& args) override {
    CudaContextScope scope(args.device);
    TRY(scope.status());
    TRY_ASSIGN(const CudnnStep step, parse_cudnn_step(spec.attrs));
    TRY_ASSIGN(const CudnnSizes sizes, concrete_sizes(step, args.known_symbols()));
    if (sizes.empty()) return int64_t{0};
    TRY_ASSIGN(const PlanPtr plan, find_plan(step, sizes, args.device, false));
    return plan->workspace;
  }
};

}  // namespace

Status cudnn_available(int device) {
  CudaContextScope scope(device);
  TRY(scope.status());
  return cudnn().status();
}

int64_t cudnn_version() {
  const Result<const Cudnn*> api = cudnn();
  return api.is_ok() ? api.value()->number : 0;
}

Result<std::vector<std::string>> cudnn_configs(const CudnnStep& step, const Symbols& symbols, int device, int count) {
  CudaContextScope scope(device);
  TRY(scope.status());
  TRY_ASSIGN(const Cudnn* api, cudnn());
  TRY_ASSIGN(const cudnnHandle_t handle, api->handle(device));
  TRY_ASSIGN(const CudnnSizes sizes, concrete_sizes(step, symbols));
  TRY_ASSIGN(const std::unique_ptr<CudnnGraph> graph, make_graph(*api, handle, step, sizes));
  std::vector<std::string> texts;
  for (cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    const auto configs = heuristic_configs(*api, *graph, mode, step);
    if (!configs.is_ok()) continue;
    for (const CudnnDescriptor& config : configs.value()) {
      if (static_cast<int>(texts.size()) >= count) return texts;
      TRY_ASSIGN(std::string text, config_text(*api, config));
      if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(std::move(text));
    }
  }
  return texts;
}

Result<int64_t> cudnn_workspace(const CudnnStep& step, const Symbols& symbols, int device) {
  CudaContextScope scope(device);
  TRY(scope.status());
  TRY_ASSIGN(const CudnnSizes sizes, concrete_sizes(step, symbols));
  if (sizes.empty()) return int64_t{0};
  TRY_ASSIGN(const PlanPtr plan, find_plan(step, sizes, device, true));
  return plan->workspace;
}

Executor* cudnn_executor() {
  static CudnnExecutor executor;
  return &executor;
}

}  // namespace tuyere
#endif
