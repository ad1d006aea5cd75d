// SPDX-License-Identifier: Apache-2.0
// tuyere::execute(Tensor[] inputs, Tensor engine, SymInt[] sizes, int[] spec) -> Tensor[]
// `engine` is a CPU uint8 carrier (runtime/engine/registry.h). `sizes` and `spec` describe the outputs to the fake kernel (py/tuyere/fake.py) only.
#include <algorithm>

#include "runtime/engine/registry.h"
#include "runtime/torch_op/torch_util.h"

namespace tuyere::torch_op {
namespace {

std::shared_ptr<EngineHandle> handle_of(const Tensor& engine, int device) {
  if (device_of(engine) >= 0) fail("the engine argument must be a CPU tensor (do not move it with .to(\"cuda\"))");
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

/// Whether the strides are what the plan says; dims of size 1 do not matter.
bool same_strides(const TensorRef& ref, std::span<const int64_t> strides) {
  for (size_t i = 0; i < strides.size(); ++i) {
    if (ref.shape[i] != 1 && ref.strides[i] != strides[i]) return false;
  }
  return true;
}

/// The dense strides with the memory order that `like` (symbolic strides of the plan) has.
std::vector<int64_t> dense_strides(std::span<const int64_t> shape, const PlanTensor& like) {
  std::vector<int> order(shape.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  const bool channels_last = shape.size() >= 3 && like.strides[1].is_const(1) && !like.strides.back().is_const(1);
  if (channels_last) std::rotate(order.begin() + 1, order.begin() + 2, order.end());
  std::vector<int64_t> strides(shape.size());
  int64_t step = 1;
  for (size_t i = order.size(); i-- > 0;) {
    strides[order[i]] = step;
    step *= std::max<int64_t>(shape[order[i]], 1);
  }
  return strides;
}

/// Inputs as the plan wants them: strides other than the plan's are copied.
std::vector<TensorRef> bind_inputs(const Engine& engine, std::vector<Tensor>& inputs) {
  const PlanBody& body = engine.body();
  if (inputs.size() != body.inputs.size()) {
    fail("the engine takes " + std::to_string(body.inputs.size()) + " inputs, got " + std::to_string(inputs.size()));
  }
  std::vector<TensorRef> refs;
  refs.reserve(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    TensorRef ref = tensor_ref(inputs[i]);
    const PlanTensor& want = body.tensors[body.inputs[i].tensor];
    if (ref.shape.size() == want.shape.size()) {
      const std::vector<int64_t> strides = dense_strides(ref.shape, want);
      // Ops on nothing may return another type than they announce: native_dropout's mask is then of the input's type.
      const bool other_nothing = ref.dtype != want.dtype && std::find(ref.shape.begin(), ref.shape.end(), 0) != ref.shape.end();
      if (other_nothing) {
        inputs[i] = empty_strided(ref.shape, strides, want.dtype, ref.device);
        ref = tensor_ref(inputs[i]);
      } else if (!same_strides(ref, strides)) {
        Tensor dense = empty_strided(ref.shape, strides, ref.dtype, ref.device);
        copy(dense, inputs[i]);
        inputs[i] = std::move(dense);
        ref = tensor_ref(inputs[i]);
      }
    }
    refs.push_back(ref);
  }
  return refs;
}

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

std::vector<Tensor> run(EngineHandle& handle, std::vector<Tensor>& inputs) {
  const int device = handle.engine().device();
  const std::vector<TensorRef> in = bind_inputs(handle.engine(), inputs);
  ContextLease lease(handle);
  auto described = (*lease).outputs(in);
  check(described.status());
  std::vector<Tensor> outputs;
  std::vector<TensorRef> out;
  outputs.reserve(described->size());
  out.reserve(described->size());
  for (const TensorView& view : *described) {
    outputs.push_back(empty_strided(view.shape, view.strides, view.dtype, device));
    out.push_back(tensor_ref(outputs.back()));
  }
  check((*lease).execute(in, out, current_stream(device)));
  return outputs;
}

std::vector<Tensor> execute(std::vector<Tensor> inputs, Tensor engine, std::vector<int64_t>, std::vector<int64_t>) {
  const int device = inputs.empty() ? -1 : device_of(inputs[0]);
  const std::shared_ptr<EngineHandle> handle = handle_of(engine, device);
  return run(*handle, inputs);
}

/// TensorCall (runtime/engine/registry.h): for callers that hold the engine and tensors without autograd.
std::vector<void*> call(EngineHandle& handle, std::span<void* const> handles) {
  std::vector<Tensor> inputs;
  inputs.reserve(handles.size());
  for (void* each : handles) inputs.emplace_back(static_cast<AtenTensorHandle>(each));
  std::vector<void*> outputs;
  for (const Tensor& output : run(handle, inputs)) {
    AtenTensorHandle mine = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_new_tensor_handle(output.get(), &mine));
    outputs.push_back(mine);
  }
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
