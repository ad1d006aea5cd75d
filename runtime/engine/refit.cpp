// SPDX-License-Identifier: Apache-2.0
// Parameters -> weight program -> constants, at load and at refit, swapped in as one immutable set. Running calls keep the set they began with.
#include <cstring>

#include "common/error.h"
#include "runtime/engine/engine_impl.h"

namespace tuyere {
namespace {

constexpr uintptr_t kSharedAlignment = 64;  // what the builder counts on for constants

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
  const bool known = old.data && old.bytes == constant.bytes && !set.device.count(name);
  const bool same = known && (!old.bytes || std::memcmp(old.data, constant.data, static_cast<size_t>(old.bytes)) == 0);
  if (same) return;
  old = std::move(constant);
  set.device.erase(name);
  set.changed_in[name] = set.version;
}

/// The value of a parameter: where it is when steps can read it there, a copy otherwise.
Status set_parameter(const Engine::Impl& impl, ConstantSet& set, const SharedWeight& weight, void* stream) {
  const std::string name = "param/" + weight.name;
  PlanConstant& constant = set.host.at(name);
  const TensorRef& value = weight.value;
  const bool in_place = weight.keep && value.device == impl.device && reinterpret_cast<uintptr_t>(value.data) % kSharedAlignment == 0;
  if (!in_place) {
    TRY_ASSIGN(PlanConstant copied, blank(constant));
    TRY(fetch(copied, value, stream));
    replace(set, name, std::move(copied));
    return Status::ok();
  }
  set.changed_in[name] = set.version;
  if (impl.device < 0) {
    constant.data = value.data;
    constant.keep = weight.keep;
    return Status::ok();
  }
  constant.data = nullptr;
  constant.keep = nullptr;
  set.device[name] = {value.data, weight.keep};
  return impl.api->synchronize(stream);  // what wrote it has finished, whatever stream reads it
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
  std::vector<PlanConstant> values, results;
  values.reserve(body.inputs.size());
  results.reserve(body.outputs.size());
  for (const PlanIo& io : body.inputs) {
    TRY_ASSIGN(PlanConstant value, on_host(engine->impl(), set, "param/" + io.name));
    values.push_back(std::move(value));
    inputs.add(values.back());
  }
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

Status refit_set(const std::shared_ptr<Engine>& engine, ConstantSet& set, std::span<const SharedWeight> weights, void* stream) {
  for (const SharedWeight& weight : weights) {
    auto found = set.host.find("param/" + weight.name);
    if (found == set.host.end()) return invalid("the engine has no parameter '" + weight.name + "'");
    TRY(check_value(weight.name, weight.value, found->second));
  }
  for (const SharedWeight& weight : weights) TRY(set_parameter(engine->impl(), set, weight, stream));
  const int weight_body = engine->plan().weight_body;
  return weight_body >= 0 ? run_weight_program(engine, weight_body, set) : Status::ok();
}

Status missing_parameters(const ConstantSet& set) {
  std::string text;
  int count = 0;
  for (const auto& [name, constant] : set.host) {
    if (!name.starts_with("param/") || !set.is_missing(name)) continue;
    if (++count <= 3) text += (text.empty() ? "'" : ", '") + name.substr(6) + "'";
  }
  if (count > 3) text += " and " + std::to_string(count - 3) + " more";
  return {Code::FailedPrecondition, "the weights of this engine are not in its file: pass the parameters when you load it (missing: " + text + ")"};
}

template <class F>
Status guarded_refit(F body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return {Code::OutOfMemory, "out of memory while weights are set"};
  } catch (const Error& error) {
    return {Code::Internal, error.message()};
  }
}

}  // namespace

Result<PlanConstant> on_host(const Engine::Impl& impl, const ConstantSet& set, const std::string& name) {
  const PlanConstant& constant = set.host.at(name);
  if (!constant.is_elsewhere()) return constant;
  auto device = set.device.find(name);
  if (device == set.device.end()) return Status(Code::FailedPrecondition, "constant '" + name + "' has no value");
  TRY_ASSIGN(PlanConstant copy, blank(constant));
  const DeviceScope scope(impl.api, impl.device);
  TRY(scope.status());
  TRY(impl.api->copy_now(impl.device, const_cast<void*>(copy.data), device->second.data, copy.bytes));
  return copy;
}

Status first_constants(const std::shared_ptr<Engine>& engine, std::shared_ptr<ConstantSet> set, std::span<const SharedWeight> shared) {
  Engine::Impl& impl = engine->impl();
  return guarded_refit([&]() -> Status {
    const DeviceScope scope(impl.api, impl.device);
    TRY(scope.status());
    for (const SharedWeight& weight : shared) {
      auto found = set->host.find("param/" + weight.name);
      if (found == set->host.end() || !found->second.is_elsewhere()) continue;
      TRY(check_value(weight.name, weight.value, found->second));
      TRY(set_parameter(impl, *set, weight, nullptr));
    }
    bool incomplete = false;
    for (const auto& [name, constant] : set->host) {
      if (!set->is_missing(name)) continue;
      if (name.starts_with("param/")) return missing_parameters(*set);
      incomplete = true;
    }
    impl.set_constants(set);
    if (incomplete) {
      if (impl.plan.weight_body < 0) return {Code::DataLoss, "engine file: a constant has no value and no weight program makes it"};
      auto whole = std::make_shared<ConstantSet>(*set);
      TRY(run_weight_program(engine, impl.plan.weight_body, *whole));
      set = whole;
    }
    TRY(upload(*set, nullptr, impl.plan, impl.device, impl.api));
    impl.set_constants(set);
    return Status::ok();
  });
}

Status Engine::share(std::span<const SharedWeight> weights, void* stream) {
  return guarded_refit([&]() -> Status {
    const std::lock_guard lock(impl_->refit_mutex);
    const std::shared_ptr<const ConstantSet> current = impl_->constants();
    auto next = std::make_shared<ConstantSet>();
    next->version = current->version + 1;
    next->host = current->host;
    next->changed_in = current->changed_in;
    for (const auto& [name, place] : current->device)
      if (next->host.at(name).is_elsewhere()) next->device[name] = place;
    next->packs = std::make_shared<PackStore>(current->packs);
    const DeviceScope scope(impl_->api, impl_->device);
    TRY(scope.status());
    TRY(refit_set(shared_from_this(), *next, weights, stream));
    TRY(upload(*next, current.get(), impl_->plan, impl_->device, impl_->api));
    impl_->set_constants(std::move(next));
    return Status::ok();
  });
}

Status Engine::refit(std::span<const std::string> names, std::span<const TensorRef> values, void* stream) {
  if (names.size() != values.size()) return invalid(std::to_string(names.size()) + " names for " + std::to_string(values.size()) + " values");
  std::vector<SharedWeight> weights;
  for (size_t i = 0; i < names.size(); ++i) weights.push_back({names[i], values[i], nullptr});
  return share(weights, stream);
}

}  // namespace tuyere
