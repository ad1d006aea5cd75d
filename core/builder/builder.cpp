// SPDX-License-Identifier: Apache-2.0
// build(): validate, optimize, place, split off the weight program, choose, emit. Placement runs before the split, so that the copies it inserts on
// constants (weights in channels-last order) are evaluated once, and again after it on what is left.
#include "core/builder/builder.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "common/error.h"
#include "common/log.h"
#include "core/builder/choose.h"
#include "core/builder/emit.h"
#include "core/builder/problems.h"
#include "core/builder/version.h"
#include "core/builder/weights.h"

namespace tuyere {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

class Build {
 public:
  Build(Network network, const BuilderConfig& config)
      : net_(std::move(network)), config_(config), target_(find_target(config.target)), cache_(device_key(target_)) {
    if (!config.profiles.empty()) profile_ = config.profiles[0];
    for (const auto& [name, range] : profile_.symbols) hints_.set(name, range.opt);
  }

  BuiltEngine run() {
    Clock::time_point begin = Clock::now();
    check_options();
    add_default_hints();
    optimize();
    net_.compact();
    place(net_);
    end_phase("optimize");
    name_constants(net_);
    WeightProgram weights = split_weights(net_);
    add_weight_program(weights);
    end_phase("weights");
    add_program(weights);
    std::vector<std::byte> bytes = finish();
    end_phase("emit");
    BuiltEngine engine{std::move(bytes), std::move(report_)};
    engine.report.seconds = seconds_since(begin);
    return engine;
  }

 private:
  /// Seconds since the last phase ended.
  void end_phase(const std::string& name) {
    report_.phases.emplace_back(name, seconds_since(phase_begin_));
    phase_begin_ = Clock::now();
  }

  void check_options() const {
    USER_CHECK(config_.optimization_level >= 0 && config_.optimization_level <= 5, "optimization_level " << config_.optimization_level << " is not in 0..5");
    for (const std::string& source : config_.tactic_sources) {
      bool known = false;
      for (const char* name : {"own", "cudnn", "cublaslt", "onednn", "reference"}) known |= source == name;
      USER_CHECK(known, "unknown tactic source '" << source << "': own, cudnn, cublaslt, onednn or reference");
    }
    for (const auto& [name, range] : profile_.symbols) {
      USER_CHECK(range.min <= range.opt && range.opt <= range.max, "profile of '" << name << "': min <= opt <= max does not hold");
    }
  }

  /// Sizes nobody gave a hint for are tuned at 1.
  void add_default_hints() {
    std::vector<std::string> names;
    for (const Tensor& tensor : net_.main().tensors) {
      for (const Dim& dim : tensor.type.shape) dim.collect(names);
    }
    for (const std::string& name : names) {
      if (!hints_.find(name)) hints_.set(name, 1);
    }
  }

  void optimize() {
    report_progress(config_, "optimize", 0, 1, net_.name);
    validate(net_);
    PassContext context{target_, config_.precision, own_only(), hints_, config_.tf32_matmul, config_.tf32_conv, has_source("onednn") ? cpu_channel_block() : 0};
    report_.passes = run_passes(net_, context, {config_.disabled_passes, true});
    USER_CHECK(net_.bodies.size() == 1, "networks with control flow cannot be built: keep If, While and Call outside");
    report_progress(config_, "optimize", 1, 1, net_.name);
  }

  bool has_source(const std::string& source) const {
    const std::vector<std::string>& sources = config_.tactic_sources;
    return sources.empty() || std::find(sources.begin(), sources.end(), source) != sources.end();
  }

  bool own_only() const {
    for (const std::string& source : config_.tactic_sources) {
      if (source != "own" && source != "reference") return false;
    }
    return !config_.tactic_sources.empty();
  }

  /// The weight program runs on the CPU, whatever the target, with the first tactic of every list.
  void add_weight_program(WeightProgram& weights) {
    ErrorFrame frame("in the weight program");
    for (const auto& [constant, type] : weights.parameters) add_constant(constant, type);
    if (weights.outputs.empty()) return;
    Placement placement = place(weights.network);
    add_constants(weights.network);
    Target cpu = find_target("cpu");
    BuilderConfig config;
    config.optimization_level = 0;
    config.num_threads = config_.num_threads;
    TimingCache none("");
    ChooseStats stats;
    std::vector<Problem> problems = make_problems(weights.network, 0, placement, {}, true);
    std::vector<Choice> choices = choose(problems, cpu, config, none, stats);
    file_.plan.weight_body = 1;
    file_.plan.bodies.push_back(emit_body({weights.network, placement, problems, choices, {}, weights.outputs}));
    file_.constants.merge(run_weight_body(file_.plan.bodies[1], file_.constants));
  }

  void add_program(const WeightProgram& weights) {
    PlacementOptions options;
    options.stored_in_layout.insert(weights.outputs.begin(), weights.outputs.end());
    Placement placement = place(net_, 0, options);
    dump("network", net_.name, str(net_));
    dump("memory", net_.name, str(net_, 0, placement));
    add_constants(net_);
    std::vector<Problem> problems = make_problems(net_, 0, placement, hints_, config_.deterministic);
    std::vector<Choice> choices = tune(problems);
    report_progress(config_, "emit", 0, 1, net_.name);
    file_.plan.bodies[0] = emit_body({net_, placement, problems, choices, profile_, {}});
    for (const Choice& choice : choices) add_report(choice);
  }

  /// What was measured goes to the timing cache, whether the build succeeds, fails or is cancelled.
  std::vector<Choice> tune(const std::vector<Problem>& problems) {
    std::string path = timing_cache_path(config_.timing_cache, target_);
    if (!path.empty()) cache_.load(path);
    ChooseStats stats;
    auto save = [&] {
      if (!path.empty()) cache_.save(path);
    };
    std::vector<Choice> choices;
    try {
      choices = choose(problems, target_, config_, cache_, stats);
    } catch (const Error&) {
      save();
      throw;
    }
    save();
    report_.timed = stats.timed;
    report_.cache_hits = stats.cache_hits;
    report_.tune_seconds = stats.seconds;
    report_.phases.insert(report_.phases.end(), stats.phases.begin(), stats.phases.end());
    phase_begin_ = Clock::now();
    return choices;
  }

  void add_report(const Choice& choice) {
    const PlanStep& step = file_.plan.bodies[0].steps[report_.layers.size()];
    report_.layers.push_back({step.name, step.problem.substr(0, step.problem.find(' ')), step.tactic, step.config, step.micros, step.origins, choice.why_not});
  }

  void add_constant(const Constant& constant, const TensorType& type) {
    std::string name = file_name(constant);
    if (file_.constants.count(name)) return;
    PlanConstant stored{type.dtype, to_ints(stored_shape(type))};
    stored.bytes = bytes_of(type.dtype, numel(type.shape).value());
    USER_CHECK(constant.data, "constant '" << constant.name << "' has no data");
    USER_CHECK(static_cast<int64_t>(constant.data->size()) >= stored.bytes,
               "constant '" << constant.name << "' has " << constant.data->size() << " bytes of data; " << str(type) << " needs " << stored.bytes);
    stored.data = constant.data->data();
    stored.keep = constant.data;
    file_.constants[name] = stored;
  }

  void add_constants(const Network& network) {
    for (const Tensor& tensor : network.main().tensors) {
      if (tensor.constant < 0) continue;
      ErrorFrame frame("storing constant '" + network.constants[tensor.constant].name + "'");
      add_constant(network.constants[tensor.constant], tensor.type);
    }
  }

  std::vector<std::byte> finish() {
    Plan& plan = file_.plan;
    plan.target = target_.arch();
    plan.device_name = target_.device_name;
    plan.meta["tuyere"] = kVersion;
    plan.meta["network"] = str(net_);
    plan.meta["options"] = options_text();
    drop_unused_constants();
    Packing packing = arena_at(plan.bodies[0], hints_);
    report_.arena_bytes = packing.total;
    report_.arena_lower_bound = packing.lower_bound;
    for (const PlanBuffer& buffer : plan.bodies[0].buffers) {
      if (buffer.kind == BufferKind::constant) report_.weight_bytes += buffer.bytes.value();
    }
    std::vector<std::byte> bytes = write_engine(file_);
    report_progress(config_, "emit", 1, 1, net_.name);
    return bytes;
  }

  std::string options_text() const {
    nlohmann::ordered_json options{{"precision", config_.precision},          {"tf32_matmul", config_.tf32_matmul},
                                   {"tf32_conv", config_.tf32_conv},          {"optimization_level", config_.optimization_level},
                                   {"deterministic", config_.deterministic},  {"cuda_graphs", config_.cuda_graphs},
                                   {"tactic_sources", config_.tactic_sources}};
    return options.dump();
  }

  void drop_unused_constants() {
    std::set<std::string> used;
    for (const PlanBody& body : file_.plan.bodies) {
      for (const PlanBuffer& buffer : body.buffers) used.insert(buffer.constant);
    }
    if (file_.plan.weight_body >= 0) {
      for (const PlanIo& io : file_.plan.bodies[file_.plan.weight_body].inputs) used.insert("param/" + io.name);
      for (const PlanIo& io : file_.plan.bodies[file_.plan.weight_body].outputs) used.insert(io.name);
    }
    std::erase_if(file_.constants, [&](const auto& item) { return !used.count(item.first); });
  }

  Network net_;
  const BuilderConfig& config_;
  Target target_;
  TimingCache cache_;
  OptimizationProfile profile_;
  Symbols hints_;
  EngineFile file_;
  BuildReport report_;
  Clock::time_point phase_begin_ = Clock::now();
};

}  // namespace

BuiltEngine build(Network network, const BuilderConfig& config) { return Build(std::move(network), config).run(); }

}  // namespace tuyere
