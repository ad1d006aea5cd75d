// SPDX-License-Identifier: Apache-2.0
// Refit: new parameters -> weight program -> new constants, swapped in as one immutable set. Running calls keep the set they began with.
#include <cstring>

#include "common/error.h"
#include "runtime/engine/engine_impl.h"

namespace tuyere {
namespace {

Status invalid(const std::string& text) { return {Code::InvalidArgument, text}; }

/// Same dtype, same shape, row-major.
Status check_value(const std::string& name, const TensorRef& value, const PlanConstant& constant) {
  const std::string what = "parameter '" + name + "'";
  if (value.dtype != constant.dtype)
    return invalid(what + " has dtype " + std::string(tuyere::name(value.dtype)) + ", the engine has " + std::string(tuyere::name(constant.dtype)));
  const std::vector<int64_t> shape(value.shape.begin(), value.shape.end());
  if (shape != constant.shape) return invalid(what + " has another shape than in the engine");
  const std::vector<int64_t> strides = contiguous_strides(shape);
  for (size_t i = 0; i < shape.size(); ++i)
    if (value.strides.size() != shape.size() || (constant.bytes && shape[i] != 1 && value.strides[i] != strides[i]))
      return invalid(what + " is not contiguous");
  if (constant.bytes && !value.data) return invalid(what + " has no data");
  return Status::ok();
}

/// Fresh host memory of the size and type of `like`.
Result<PlanConstant> blank(const PlanConstant& like) {
  TRY_ASSIGN(Memory allocated, Memory::allocate(like.bytes, -1, nullptr));
  const auto memory = std::make_shared<Memory>(std::move(allocated));
  PlanConstant constant = like;
  constant.data = memory->data();
  constant.keep = memory;
  return constant;
}

Status fetch(const PlanConstant& into, const TensorRef& value, void* stream) {
  if (!into.bytes) return Status::ok();
  if (value.device < 0) {
    std::memcpy(const_cast<void*>(into.data), value.data, static_cast<size_t>(into.bytes));
    return Status::ok();
  }
  TRY_ASSIGN(DeviceApi * api, cuda_device());
  const DeviceScope scope(api, value.device);
  TRY(scope.status());
  TRY(api->synchronize(stream));
  return api->copy_now(value.device, const_cast<void*>(into.data), value.data, into.bytes);
}

void replace(ConstantSet& set, const std::string& name, PlanConstant constant) {
  PlanConstant& old = set.host[name];
  const bool same = old.bytes == constant.bytes && (!old.bytes || std::memcmp(old.data, constant.data, static_cast<size_t>(old.bytes)) == 0);
  if (same) return;
  old = std::move(constant);
  set.changed_in[name] = set.version;
}

/// Dense host tensors of a weight program's inputs or outputs.
struct HostTensors {
  std::vector<std::vector<int64_t>> strides;
  std::vector<TensorRef> refs;
  explicit HostTensors(size_t count) { strides.reserve(count); }
  void add(const PlanConstant& constant) {
    strides.push_back(contiguous_strides(constant.shape));
    refs.push_back({const_cast<void*>(constant.data), constant.dtype, constant.shape, strides.back(), -1});
  }
};

Status run_weight_program(const std::shared_ptr<Engine>& engine, int body_index, ConstantSet& set) {
  const PlanBody& body = engine->plan().bodies[body_index];
  HostTensors inputs(body.inputs.size()), outputs(body.outputs.size());
  for (const PlanIo& io : body.inputs) inputs.add(set.host.at("param/" + io.name));
  std::vector<PlanConstant> results;
  results.reserve(body.outputs.size());
  for (const PlanIo& io : body.outputs) {
    TRY_ASSIGN(PlanConstant result, blank(set.host.at(io.name)));
    results.push_back(std::move(result));
    outputs.add(results.back());
  }
  TRY_ASSIGN(const std::unique_ptr<Context> context, make_context(engine, body_index, -1));
  TRY(context->execute(inputs.refs, outputs.refs));
  for (size_t i = 0; i < results.size(); ++i) replace(set, body.outputs[i].name, std::move(results[i]));
  return Status::ok();
}

Status refit_set(const std::shared_ptr<Engine>& engine, ConstantSet& set, std::span<const std::string> names, std::span<const TensorRef> values, void* stream) {
  for (size_t i = 0; i < names.size(); ++i) {
    auto found = set.host.find("param/" + names[i]);
    if (found == set.host.end()) return invalid("the engine has no parameter '" + names[i] + "'");
    TRY(check_value(names[i], values[i], found->second));
  }
  for (size_t i = 0; i < names.size(); ++i) {
    TRY_ASSIGN(PlanConstant value, blank(set.host.at("param/" + names[i])));
    TRY(fetch(value, values[i], stream));
    replace(set, "param/" + names[i], std::move(value));
  }
  const int weight_body = engine->plan().weight_body;
  return weight_body >= 0 ? run_weight_program(engine, weight_body, set) : Status::ok();
}

}  // namespace

Status Engine::refit(std::span<const std::string> names, std::span<const TensorRef> values, void* stream) {
  if (names.size() != values.size()) return invalid(std::to_string(names.size()) + " names for " + std::to_string(values.size()) + " values");
  try {
    const std::lock_guard lock(impl_->refit_mutex);
    const std::shared_ptr<const ConstantSet> current = impl_->constants();
    auto next = std::make_shared<ConstantSet>();
    next->version = current->version + 1;
    next->host = current->host;
    next->changed_in = current->changed_in;
    next->packs = std::make_shared<PackStore>(current->packs);
    TRY(refit_set(shared_from_this(), *next, names, values, stream));
    const DeviceScope scope(impl_->api, impl_->device);
    TRY(scope.status());
    TRY(upload(*next, current.get(), impl_->plan.bodies[0], impl_->device, impl_->api));
    impl_->set_constants(std::move(next));
    return Status::ok();
  } catch (const std::bad_alloc&) {
    return {Code::OutOfMemory, "out of memory during refit"};
  } catch (const Error& error) {
    return {Code::Internal, error.message()};
  }
}

}  // namespace tuyere
