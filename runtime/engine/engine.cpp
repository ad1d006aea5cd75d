// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine/engine.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>

#include <nlohmann/json.hpp>

#include "common/host_memory.h"
#include "runtime/engine/control.h"
#include "runtime/engine/engine_impl.h"
#include "runtime/plan/safetensors.h"
#include "runtime/plan/validate.h"

namespace tuyere {
namespace {

using Json = nlohmann::json;

Status unsupported(const std::string& text) { return {Code::Unsupported, text}; }

Status check_runnable(const PlanBody& body, std::set<std::string>& host_ops) {
  for (const PlanIo& io : body.outputs)
    if (io.data_dependent) return unsupported("output '" + io.name + "' has a data-dependent size, which this runtime cannot run");
  for (const PlanStep& step : body.steps) {
    if (step.stage > 0) return unsupported("the plan reads sizes back from the device (step '" + step.name + "'), which this runtime cannot run");
    if (is_control(step)) continue;
    const Result<Executor*> executor = find_executor(step.spec.executor);
    if (!executor.is_ok()) return executor.status();
    if (step.spec.executor != "host") continue;
    const Json attrs = Json::parse(step.spec.attrs, nullptr, false);
    const auto op = attrs.is_object() ? attrs.find("op") : attrs.end();
    host_ops.insert(attrs.is_object() && op != attrs.end() && op->is_string() ? op->get<std::string>() : step.name);
  }
  return Status::ok();
}

/// What this runtime cannot run is said at load.
Status check_runnable(const Plan& plan) {
  std::set<std::string> host_ops;
  for (const PlanBody& body : plan.bodies) TRY(check_runnable(body, host_ops));
  if (host_ops.empty() || host_table().call) return Status::ok();
  std::string list;
  for (const std::string& op : host_ops) list += (list.empty() ? "" : ", ") + op;
  return {Code::FailedPrecondition,
          "this engine calls operators of the framework it came from (" + list + "): run it there, or build it without hosted operators"};
}

Status open_device(Engine::Impl& impl) {
  if (impl.plan.target == "cpu") return Status::ok();
  if (!impl.plan.target.starts_with("sm_"))
    return {Code::FailedPrecondition, "this engine is for '" + impl.plan.target + "', which this runtime does not know"};
  impl.device = impl.options.device;
  TRY_ASSIGN(impl.api, cuda_device());
  if (impl.device < 0 || impl.device >= impl.api->count()) return {Code::InvalidArgument, "there is no GPU " + std::to_string(impl.device)};
  TRY_ASSIGN(const DeviceInfo info, impl.api->info(impl.device));
  if (target_runs_on(impl.plan.target, info.major, info.minor)) return Status::ok();
  return {Code::FailedPrecondition, "this engine is for " + impl.plan.target + ", but GPU " + std::to_string(impl.device) + " is " + info.name + " (sm_" +
                                        std::to_string(info.major * 10 + info.minor) + ")"};
}

/// `path`: of the engine file, "" when it came as bytes.
Status open_weights_file(const Plan& plan, const std::string& path, const std::string& option, PlanConstants& constants) {
  const bool missing = std::any_of(constants.begin(), constants.end(), [](const auto& item) { return item.second.is_elsewhere(); });
  auto mode = plan.meta.find("weights"), id = plan.meta.find("weights_id");
  const bool separate = mode != plan.meta.end() && mode->second == "separate";
  if (!missing || (option.empty() && !separate)) return Status::ok();
  if (option.empty() && path.empty())
    return {Code::FailedPrecondition, "the weights of this engine are in a second file: load it with the path of that file (weights_file)"};
  return open_weights(option.empty() ? weights_path(path) : option, id == plan.meta.end() ? "" : id->second, constants);
}

Status initialize(const std::shared_ptr<Engine>& engine, EngineFile file, const EngineOptions& options, const std::string& path) {
  Engine::Impl& impl = engine->impl();
  impl.plan = std::move(file.plan);
  impl.options = options;
  impl.options.shared = {};
  TRY(open_device(impl));
  TRY(check_runnable(impl.plan));
  TRY(open_weights_file(impl.plan, path, options.weights_file, file.constants));
  auto set = std::make_shared<ConstantSet>();
  set->host = std::move(file.constants);
  set->packs = std::make_shared<PackStore>();
  return first_constants(engine, std::move(set), options.shared);
}

/// Bytes whose tensors are aligned in memory: `bytes` itself, or an aligned copy.
std::span<const std::byte> aligned(std::span<const std::byte> bytes, std::shared_ptr<const void>& keep) {
  if (reinterpret_cast<uintptr_t>(bytes.data()) % safetensors::kAlignment == 0 || bytes.empty()) return bytes;
  void* copy = allocate_host(bytes.size());
  if (!copy) return {};
  std::memcpy(copy, bytes.data(), bytes.size());
  keep = std::shared_ptr<const void>(copy, [](const void* p) { std::free(const_cast<void*>(p)); });
  return {static_cast<const std::byte*>(copy), bytes.size()};
}

}  // namespace

Engine::Engine() : impl_(std::make_unique<Impl>()) {}
Engine::~Engine() = default;

Result<std::shared_ptr<Engine>> Engine::load(std::span<const std::byte> bytes, std::shared_ptr<const void> keep, const EngineOptions& options) {
  const std::span<const std::byte> data = aligned(bytes, keep);
  if (data.size() != bytes.size()) return Status(Code::OutOfMemory, "cannot allocate " + std::to_string(bytes.size()) + " bytes");
  TRY_ASSIGN(EngineFile file, read_engine(data, keep));
  std::shared_ptr<Engine> engine(new Engine());
  engine->impl_->keep = std::move(keep);
  TRY(initialize(engine, std::move(file), options, ""));
  return engine;
}

Result<std::shared_ptr<Engine>> Engine::load(const std::string& path, const EngineOptions& options) {
  TRY_ASSIGN(EngineFile file, open_engine(path));
  std::shared_ptr<Engine> engine(new Engine());
  TRY(initialize(engine, std::move(file), options, path));
  return engine;
}

const Plan& Engine::plan() const { return impl_->plan; }
int Engine::device() const { return impl_->device; }

int64_t Engine::weight_bytes() const {
  int64_t total = 0;
  for (const auto& [name, bytes] : program_constants(impl_->plan)) total += bytes;
  return total;
}

Result<std::unique_ptr<Context>> Engine::create_context() { return make_context(shared_from_this(), 0, impl_->device); }

std::vector<std::string> Engine::refittable() const {
  std::vector<std::string> names;
  for (const auto& [name, constant] : impl_->constants()->host)
    if (name.starts_with("param/")) names.push_back(name.substr(6));
  return names;
}

}  // namespace tuyere
