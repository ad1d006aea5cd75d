// SPDX-License-Identifier: Apache-2.0
#ifdef TUYERE_WITH_CUDA
#include "kernels/run/cudnn_plan.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>

namespace tuyere {
namespace {

constexpr int64_t kMaxKnobs = 64;  // more than any engine has
constexpr int64_t kPlanWorkspace = int64_t{2} << 30;

/// An engine configuration with what it refers to.
struct Choice {
  std::vector<CudnnDescriptor> parts;
  CudnnDescriptor config;
};

Result<std::vector<CudnnDescriptor>> make_many(const Cudnn& api, cudnnBackendDescriptorType_t type, int64_t count) {
  std::vector<CudnnDescriptor> made;
  for (int64_t i = 0; i < count; ++i) {
    TRY_ASSIGN(CudnnDescriptor d, CudnnDescriptor::make(api, type));
    made.push_back(std::move(d));
  }
  return made;
}

std::vector<cudnnBackendDescriptor_t> raws(const std::vector<CudnnDescriptor>& descriptors) {
  std::vector<cudnnBackendDescriptor_t> out;
  for (const CudnnDescriptor& d : descriptors) out.push_back(d.raw());
  return out;
}

Result<CudnnDescriptor> engine_of(const Cudnn& api, const CudnnDescriptor& config) {
  TRY_ASSIGN(CudnnDescriptor engine, CudnnDescriptor::make(api, CUDNN_BACKEND_ENGINE_DESCRIPTOR));
  TRY(config.get(CUDNN_ATTR_ENGINECFG_ENGINE, engine));
  return engine;
}

bool is_f32(const CudnnStep& step) { return step.tensors[step.attention ? step.attention->q : step.x].dtype == DType::F32; }

/// IEEE f32 rules tensor cores out; inputs are never rounded and sums stay f32.
Result<bool> keeps_precision(const Cudnn& api, const CudnnDescriptor& config, const CudnnStep& step) {
  TRY_ASSIGN(const CudnnDescriptor engine, engine_of(api, config));
  cudnnBackendNumericalNote_t notes[2 * CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
  TRY_ASSIGN(int64_t count, engine.get(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT, notes));
  count = std::min<int64_t>(count, CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
  return std::none_of(notes, notes + count, [&](cudnnBackendNumericalNote_t note) {
    switch (note) {
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
        return is_f32(step) && !step.tf32;
      case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
      case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
        return true;
      case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
        return step.deterministic;
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13:
        return true;
      default:
        return false;
    }
  });
}

/// The configuration that config_text() described.
Result<Choice> parse_config(const Cudnn& api, const CudnnGraph& graph, const std::string& text) {
  std::istringstream words(text);
  int64_t index = -1;
  std::vector<std::pair<int, int64_t>> knobs;
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos) return Status(Code::DataLoss, "no engine configuration: " + text);
    const int64_t value = std::atoll(word.c_str() + equals + 1);
    if (word.rfind("eng=", 0) == 0)
      index = value;
    else if (word[0] == 'k')
      knobs.emplace_back(std::atoi(word.c_str() + 1), value);
  }
  if (index < 0) return Status(Code::DataLoss, "no engine configuration: " + text);
  Choice choice;
  TRY_ASSIGN(CudnnDescriptor engine, CudnnDescriptor::make(api, CUDNN_BACKEND_ENGINE_DESCRIPTOR));
  TRY(engine.set(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph.graph));
  TRY(engine.set(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, index));
  TRY(engine.finalize("cuDNN engine"));
  for (const auto& [type, value] : knobs) {
    TRY_ASSIGN(CudnnDescriptor knob, CudnnDescriptor::make(api, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR));
    TRY(knob.set(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, static_cast<cudnnBackendKnobType_t>(type)));
    TRY(knob.set(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, value));
    TRY(knob.finalize("cuDNN knob"));
    choice.parts.push_back(std::move(knob));
  }
  TRY_ASSIGN(choice.config, CudnnDescriptor::make(api, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
  TRY(choice.config.set(CUDNN_ATTR_ENGINECFG_ENGINE, engine));
  if (!choice.parts.empty()) TRY(choice.config.set(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, choice.parts));
  TRY(choice.config.finalize("cuDNN engine configuration"));
  choice.parts.push_back(std::move(engine));
  return choice;
}

Status finish(const Cudnn& api, cudnnHandle_t handle, CudnnPlan& plan, Choice choice) {
  TRY_ASSIGN(CudnnDescriptor made, CudnnDescriptor::make(api, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR));
  TRY(made.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, handle));
  TRY(made.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, choice.config));
  TRY(made.finalize("cuDNN plan"));
  int64_t workspace = 0;
  TRY(made.get(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &workspace).status());
  if (workspace > kPlanWorkspace) return {Code::Unsupported, "the cuDNN plan needs " + std::to_string(workspace) + " bytes of workspace"};
  plan.parts = std::move(choice.parts);
  plan.config = std::move(choice.config);
  plan.plan = std::move(made);
  plan.workspace = workspace;
  return Status::ok();
}

Status finish_by_heuristics(const Cudnn& api, cudnnHandle_t handle, CudnnPlan& plan, const CudnnStep& step) {
  Status last(Code::Unsupported, std::string("cuDNN has no engine for this ") + (step.attention ? "attention" : "convolution"));
  for (cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    auto configs = heuristic_configs(api, *plan.graph, mode, step);
    if (!configs.is_ok()) {
      last = configs.status();
      continue;
    }
    for (CudnnDescriptor& config : *configs) {
      last = finish(api, handle, plan, Choice{{}, std::move(config)});
      if (last.is_ok()) return last;
    }
  }
  return last;
}

}  // namespace

Result<std::vector<CudnnDescriptor>> heuristic_configs(const Cudnn& api, const CudnnGraph& graph, cudnnBackendHeurMode_t mode, const CudnnStep& step) {
  TRY_ASSIGN(CudnnDescriptor heuristic, CudnnDescriptor::make(api, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR));
  TRY(heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph.graph));
  TRY(heuristic.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode));
  TRY(heuristic.finalize("cuDNN heuristics"));
  TRY_ASSIGN(const int64_t count, heuristic.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, nullptr));
  TRY_ASSIGN(std::vector<CudnnDescriptor> all, make_many(api, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, count));
  if (all.empty()) return all;
  std::vector<cudnnBackendDescriptor_t> raw = raws(all);
  TRY_ASSIGN(const int64_t found, heuristic.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, raw.data()));
  all.resize(static_cast<size_t>(std::min(found, count)));
  std::vector<CudnnDescriptor> kept;
  for (CudnnDescriptor& config : all) {
    TRY_ASSIGN(const bool keep, keeps_precision(api, config, step));
    if (keep) kept.push_back(std::move(config));
  }
  return kept;
}

Result<std::string> config_text(const Cudnn& api, const CudnnDescriptor& config) {
  TRY_ASSIGN(const CudnnDescriptor engine, engine_of(api, config));
  int64_t index = 0;
  TRY(engine.get(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &index).status());
  TRY_ASSIGN(const std::vector<CudnnDescriptor> knobs, make_many(api, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, kMaxKnobs));
  std::vector<cudnnBackendDescriptor_t> raw = raws(knobs);
  TRY_ASSIGN(const int64_t count, config.get(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR, kMaxKnobs, raw.data()));
  std::string text = "eng=" + std::to_string(index);
  for (int64_t i = 0; i < std::min(count, kMaxKnobs); ++i) {
    cudnnBackendKnobType_t type = CUDNN_KNOB_TYPE_SPLIT_K;
    int64_t value = 0;
    const CudnnDescriptor& knob = knobs[static_cast<size_t>(i)];
    TRY(knob.get(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &type).status());
    TRY(knob.get(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1, &value).status());
    text += " k" + std::to_string(static_cast<int>(type)) + "=" + std::to_string(value);
  }
  return text;
}

Result<std::shared_ptr<const CudnnPlan>> build_plan(const Cudnn& api, cudnnHandle_t handle, const CudnnStep& step, const CudnnSizes& sizes, bool strict) {
  auto plan = std::make_shared<CudnnPlan>();
  TRY_ASSIGN(plan->graph, make_graph(api, handle, step, sizes));
  for (size_t i = 0; i < step.tensors.size(); ++i) {
    if (step.tensors[i].position < 0) continue;
    plan->uids.push_back(CudnnGraph::uid(static_cast<int>(i)));
    plan->positions.push_back(step.tensors[i].position);
  }
  bool built = false;
  if (!step.config.empty() && step.version == api.number && step.tuned == sizes.all_dims()) {
    auto choice = parse_config(api, *plan->graph, step.config);
    const Status status = choice.is_ok() ? finish(api, handle, *plan, std::move(*choice)) : choice.status();
    if (strict) TRY(status);
    built = status.is_ok();
  }
  if (!built) TRY(finish_by_heuristics(api, handle, *plan, step));
  return std::shared_ptr<const CudnnPlan>(std::move(plan));
}

}  // namespace tuyere
#endif
