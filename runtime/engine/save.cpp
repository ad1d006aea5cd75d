// SPDX-License-Identifier: Apache-2.0
// An engine back into files, with its current weights.
#include <cstdio>
#include <fstream>

#include "runtime/engine/engine_impl.h"

namespace tuyere {
namespace {

/// A draft that is renamed: readers see the old file or the new one.
Status write_whole(const std::string& path, const std::vector<std::byte>& bytes) {
  const std::string draft = path + ".part";
  std::ofstream out(draft, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (out && std::rename(draft.c_str(), path.c_str()) == 0) return Status::ok();
  std::remove(draft.c_str());
  return {Code::InvalidArgument, "cannot write '" + path + "'"};
}

/// Whether it is a weight: a parameter, or an output of the weight program.
bool is_weight(const Plan& plan, const std::string& name) {
  if (name.starts_with("param/")) return true;
  if (plan.weight_body < 0) return false;
  const std::vector<PlanIo>& made = plan.bodies[plan.weight_body].outputs;
  return std::any_of(made.begin(), made.end(), [&](const PlanIo& io) { return io.name == name; });
}

std::string meta(const Plan& plan, const std::string& key) {
  auto found = plan.meta.find(key);
  return found == plan.meta.end() ? "" : found->second;
}

Result<PlanConstants> collect(const Engine::Impl& impl, bool weights) {
  const std::shared_ptr<const ConstantSet> set = impl.constants();
  PlanConstants all;
  for (const auto& [name, constant] : set->host) {
    if (is_weight(impl.plan, name) != weights) continue;
    TRY_ASSIGN(all[name], on_host(impl, *set, name));
  }
  return all;
}

/// The engine file without the values of its weights.
Result<EngineFile> without_weights(const Engine::Impl& impl, const std::string& mode, const std::string& id) {
  EngineFile file;
  file.plan = impl.plan;
  TRY_ASSIGN(file.constants, collect(impl, false));
  for (const auto& [name, constant] : impl.constants()->host) {
    if (!is_weight(impl.plan, name)) continue;
    PlanConstant& type = file.constants[name] = constant;
    type.data = nullptr;
    type.keep = nullptr;
  }
  file.plan.meta["weights"] = mode;
  file.plan.meta["weights_id"] = id;
  return file;
}

template <class F>
Status guarded_save(F body) {
  try {
    return body();
  } catch (const std::exception& error) {
    return {Code::Internal, error.what()};
  }
}

}  // namespace

Status Engine::save(const std::string& path, const std::string& weights) const {
  return guarded_save([&]() -> Status {
    const std::string built = meta(impl_->plan, "weights");
    const std::string mode = !weights.empty() ? weights : built.empty() ? "engine" : built == "shared" ? "separate" : built;
    if (mode != "engine" && mode != "separate" && mode != "shared")
      return {Code::InvalidArgument, "weights '" + mode + "' is none of engine, separate and shared"};
    TRY_ASSIGN(PlanConstants values, collect(*impl_, true));
    if (mode == "engine") {
      EngineFile file{impl_->plan, std::move(values)};
      file.plan.meta.erase("weights");
      file.plan.meta.erase("weights_id");
      TRY_ASSIGN(PlanConstants literals, collect(*impl_, false));
      file.constants.merge(literals);
      return write_whole(path, write_engine(file));
    }
    const std::string id = weights_id(values);
    TRY_ASSIGN(const EngineFile file, without_weights(*impl_, mode, id));
    if (mode == "separate") TRY(write_whole(weights_path(path), write_weights(values, id)));
    return write_whole(path, write_engine(file));
  });
}

Status Engine::save_weights(const std::string& path) const {
  return guarded_save([&]() -> Status {
    TRY_ASSIGN(const PlanConstants values, collect(*impl_, true));
    return write_whole(path, write_weights(values, meta(impl_->plan, "weights_id")));
  });
}

}  // namespace tuyere
