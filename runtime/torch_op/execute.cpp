// SPDX-License-Identifier: Apache-2.0
// tuyere::execute(Tensor[] inputs, Tensor engine, SymInt[] sizes, int[] spec) -> Tensor[]
// `engine` is a CPU uint8 carrier (runtime/engine/registry.h). `sizes` and `spec` describe the outputs to the fake kernel (py/tuyere/fake.py) only.
#include <algorithm>

#include "runtime/engine/registry.h"
#include "runtime/torch_op/torch_util.h"

namespace tuyere::torch_op {
namespace {

std::shared_ptr<EngineHandle> handle_of(const Tensor& engine, int device) {
  if (device_of(engine.get()) >= 0) fail("the engine argument must be a CPU tensor (do not move it with .to(\"cuda\"))");
  int64_t bytes = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_numel(engine.get(), &bytes));
  const std::span<const std::byte> carrier(static_cast<const std::byte*>(engine.data_ptr()), static_cast<size_t>(bytes));
  auto id = carrier_id(carrier);
  check(id.status());
  if (auto loaded = loaded_engine(*id)) return loaded;
  EngineOptions options;
  options.device = std::max(device, 0);
  auto handle = find_engine(carrier, std::make_shared<Tensor>(engine), options);
  check(handle.status());
  return *handle;
}

/// Whether the plan wants images channels-last.
bool is_channels_last(const PlanTensor& like) { return like.strides.size() >= 3 && like.strides[1].is_const(1) && !like.strides.back().is_const(1); }

/// The dense strides of a memory order that `like` (symbolic strides of the plan) has, one after the other from the innermost dimension: visit(dim, stride).
template <class Visit>
void each_dense_stride(std::span<const int64_t> shape, const PlanTensor& like, Visit visit) {
  int64_t step = 1;
  const auto take = [&](size_t dim) {
    visit(dim, step);
    step *= std::max<int64_t>(shape[dim], 1);
  };
  const bool channels_last = is_channels_last(like);
  if (channels_last) take(1);
  for (size_t dim = shape.size(); dim-- > 0;)
    if (!channels_last || dim != 1) take(dim);
}

std::vector<int64_t> dense_strides(std::span<const int64_t> shape, const PlanTensor& like) {
  std::vector<int64_t> strides(shape.size());
  each_dense_stride(shape, like, [&](size_t dim, int64_t stride) { strides[dim] = stride; });
  return strides;
}

/// Whether the strides are what the plan says; dims of size 1 do not matter.
bool is_dense(const TensorRef& ref, const PlanTensor& like) {
  bool dense = true;
  each_dense_stride(ref.shape, like, [&](size_t dim, int64_t stride) { dense = dense && (ref.shape[dim] == 1 || ref.strides[dim] == stride); });
  return dense;
}

/// The inputs of a call as the plan wants them: those with other strides are copied.
class BoundInputs {
 public:
  BoundInputs(const Engine& engine, std::span<const AtenTensorHandle> inputs) {
    const PlanBody& body = engine.body();
    if (inputs.size() != body.inputs.size()) {
      fail("the engine takes " + std::to_string(body.inputs.size()) + " inputs, got " + std::to_string(inputs.size()));
    }
    refs_.reserve(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      const PlanTensor& want = body.tensors[body.inputs[i].tensor];
      refs_.push_back(tensor_ref(inputs[i]));
      if (refs_[i].shape.size() == want.shape.size()) adapt(refs_[i], inputs[i], want);
    }
  }
  std::span<const TensorRef> refs() const { return refs_; }

 private:
  void adapt(TensorRef& ref, AtenTensorHandle input, const PlanTensor& want) {
    // Ops on nothing may return another type than they announce: native_dropout's mask is then of the input's type.
    const bool other_nothing = ref.dtype != want.dtype && std::find(ref.shape.begin(), ref.shape.end(), 0) != ref.shape.end();
    if (!other_nothing && is_dense(ref, want)) return;
    const Tensor& dense = copies_.emplace_back(empty_strided(ref.shape, dense_strides(ref.shape, want), other_nothing ? want.dtype : ref.dtype, ref.device));
    if (!other_nothing) copy(dense, input);
    ref = tensor_ref(dense.get());
  }

  std::vector<TensorRef> refs_;
  std::vector<Tensor> copies_;
};

/// A context for the length of one call.
class ContextLease {
 public:
  explicit ContextLease(EngineHandle& handle) : handle_(handle) {
    auto context = handle.take();
    check(context.status());
    context_ = std::move(*context);
  }
  ~ContextLease() { handle_.give_back(std::move(context_)); }
  Context& operator*() { return *context_; }

 private:
  EngineHandle& handle_;
  std::unique_ptr<Context> context_;
};

struct DeleteTensor {
  void operator()(AtenTensorOpaque* handle) const { aoti_torch_delete_tensor_object(handle); }
};
using OwnedHandle = std::unique_ptr<AtenTensorOpaque, DeleteTensor>;

std::vector<OwnedHandle> run(EngineHandle& handle, std::span<const AtenTensorHandle> inputs) {
  const int device = handle.engine().device();
  const BoundInputs bound(handle.engine(), inputs);
  ContextLease lease(handle);
  auto described = (*lease).outputs(bound.refs());
  check(described.status());
  std::vector<OwnedHandle> outputs;
  std::vector<TensorRef> out;
  outputs.reserve(described->size());
  out.reserve(described->size());
  for (const TensorView& view : *described) {
    outputs.emplace_back(empty_strided_handle(view.shape, view.strides, view.dtype, device));
    out.push_back({.data = data_of(outputs.back().get()), .dtype = view.dtype, .shape = view.shape, .strides = view.strides, .device = device});
  }
  check((*lease).execute(bound.refs(), out, current_stream(device)));
  return outputs;
}

std::vector<Tensor> execute(std::vector<Tensor> inputs, Tensor engine, std::vector<int64_t>, std::vector<int64_t>) {
  const int device = inputs.empty() ? -1 : device_of(inputs[0].get());
  const std::shared_ptr<EngineHandle> handle = handle_of(engine, device);
  std::vector<AtenTensorHandle> borrowed;
  borrowed.reserve(inputs.size());
  for (const Tensor& input : inputs) borrowed.push_back(input.get());
  std::vector<Tensor> outputs;
  for (OwnedHandle& output : run(*handle, borrowed)) outputs.emplace_back(output.release());
  return outputs;
}

/// TensorCall (runtime/engine/registry.h): for callers that hold the engine and tensors without autograd.
std::vector<void*> call(EngineHandle& handle, std::span<void* const> handles) {
  std::vector<OwnedHandle> owned;
  std::vector<AtenTensorHandle> inputs;
  owned.reserve(handles.size());
  inputs.reserve(handles.size());
  for (void* each : handles) {
    inputs.push_back(static_cast<AtenTensorHandle>(each));
    owned.emplace_back(inputs.back());
  }
  std::vector<void*> outputs;
  for (OwnedHandle& output : run(handle, inputs)) outputs.push_back(output.release());
  return outputs;
}

}  // namespace
}  // namespace tuyere::torch_op

STABLE_TORCH_LIBRARY(tuyere, library) {
  tuyere::torch_op::install_host_table();
  tuyere::set_tensor_call(&tuyere::torch_op::call);
  library.def("execute(Tensor[] inputs, Tensor engine, SymInt[] sizes, int[] spec) -> Tensor[]");
}
STABLE_TORCH_LIBRARY_IMPL(tuyere, CompositeExplicitAutograd, library) { library.impl("execute", TORCH_BOX(&tuyere::torch_op::execute)); }
