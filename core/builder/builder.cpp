// SPDX-License-Identifier: Apache-2.0
// build(): validate, optimize, place, split off the weight program, choose, emit. Placement runs before the split, so that the copies it inserts on
// constants (weights in channels-last order) are evaluated once, and again after it on what is left.
#include "core/builder/builder.h"

#include <algorithm>
#include <chrono>

#include "common/error.h"
#include "common/log.h"
#include "core/builder/choose.h"
#include "core/builder/describe.h"
#include "core/builder/emit.h"
#include "core/builder/evaluate.h"
#include "core/builder/problems.h"
#include "core/builder/rehearsal.h"
#include "core/builder/version.h"
#include "core/builder/weights.h"
#include "core/builder/whole_network.h"
#include "core/passes/passes.h"
#include "kernels/api/tactics.h"

namespace tuyere {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kAppend = -1;
constexpr int kExhaustive = 5;  // optimization_level

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

/// The bodies of the network with their problems and choices, for one profile.
struct Tuned {
  const OptimizationProfile* profile;
  Symbols hints;
  std::vector<std::vector<Problem>> problems;  // by body, then step
  std::vector<std::vector<Choice>> choices;
};

class Build {
 public:
  Build(Network network, const BuilderConfig& config)
      : net_(std::move(network)),
        config_(config),
        target_(find_target(config.target)),
        versions_(library_versions(target_)),
        cache_(device_key(target_), target_.present ? str(versions_) : ""),
        profiles_(config.profiles) {
    if (profiles_.empty()) profiles_.emplace_back();
  }

  BuiltEngine run() {
    Clock::time_point begin = Clock::now();
    check_options();
    check_profiles();
    optimize();
    net_.compact();
    place(net_, 0, {.on_gpu = target_.is_cuda()});
    end_phase("optimize");
    name_constants(net_);
    WeightProgram weights = split_weights(net_);
    add_weight_program(weights);
    end_phase("weights");
    add_program(weights);
    BuiltEngine engine = finish();
    end_phase("emit");
    engine.report = std::move(report_);
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
    USER_CHECK(config_.weights == "engine" || config_.weights == "separate" || config_.weights == "shared",
               "weights '" << config_.weights << "' is none of engine, separate and shared");
  }

  void check_profiles() const {
    std::vector<std::string> known = symbols_of(net_.main());
    std::string list;
    for (const std::string& name : known) list += (list.empty() ? "" : ", ") + name;
    for (const OptimizationProfile& profile : profiles_) {
      for (const auto& [name, range] : profile.symbols) {
        USER_CHECK(std::binary_search(known.begin(), known.end(), name),
                   "a profile names the size '" << name << "', which the network does not have; it has " << (list.empty() ? "no symbolic sizes" : list));
        USER_CHECK(0 <= range.min && range.min <= range.opt && range.opt <= range.max,
                   "profile of '" << name << "': 0 <= min <= opt <= max does not hold: " << range.min << ", " << range.opt << ", " << range.max);
      }
    }
  }

  /// The sizes to tune for: those of the profile; sizes nobody gave a hint for are tuned at 1.
  Symbols hints_of(const OptimizationProfile& profile) const {
    Symbols hints;
    for (const auto& [name, range] : profile.symbols) hints.set(name, range.opt);
    for (const Body& body : net_.bodies) {
      for (const std::string& name : symbols_of(body)) {
        if (!hints.find(name)) hints.set(name, 1);
      }
    }
    return hints;
  }

  void optimize() {
    report_progress(config_, "optimize", 0, 1, net_.name);
    validate(net_);
    PassContext context{target_, config_.precision, own_only(), hints_of(profiles_[0]), config_.tf32_matmul, config_.tf32_conv};
    const auto& sources = config_.tactic_sources;
    context.own_kernels = sources.empty() || std::find(sources.begin(), sources.end(), "own") != sources.end();
    context.channel_block = cpu_channel_block();
    context.evaluate = [this](const Network& network) { return evaluate(network, config_.num_threads); };
    report_.passes = run_passes(net_, context, {config_.disabled_passes, true});
    report_progress(config_, "optimize", 1, 1, net_.name);
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
    fuse_pointwise(weights.network, {});
    PlanBody body = emit_on_cpu(weights.network, weights.outputs, config_.num_threads);
    add_constants(weights.network);
    const bool refits = !weights.parameters.empty();
    file_.constants.merge(refits && config_.weights == "shared" ? weight_types(body) : run_weight_body(body, file_.constants));
    if (!refits) return;  // the file needs only what was computed
    file_.plan.weight_body = 1;
    file_.plan.bodies.push_back(std::move(body));
  }

  void add_program(const WeightProgram& weights) {
    PlacementOptions options{.on_gpu = target_.is_cuda()};
    options.stored_in_layout.insert(weights.outputs.begin(), weights.outputs.end());
    for (int body = 0; body < static_cast<int>(net_.bodies.size()); ++body) placements_.push_back(place(net_, body, options));
    dump("network", net_.name, str(net_));
    for (int body = 0; body < static_cast<int>(net_.bodies.size()); ++body) {
      dump("memory", net_.name + (body ? "." + std::to_string(body) : ""), str(net_, body, placements_[body]));
      add_constants(net_, body);
    }
    std::vector<Tuned> tuned;
    with_timing_cache([&] {
      for (const OptimizationProfile& profile : profiles_) {
        tuned.push_back(tune(profile));
        refine(tuned.back());
      }
    });
    report_progress(config_, "emit", 0, 1, net_.name);
    emit_program(tuned[0], 0, 0);
    for (size_t p = 1; p < tuned.size(); ++p) file_.plan.profiles.push_back(emit_program(tuned[p], 0, kAppend));
    for (size_t body = 0; body < net_.bodies.size(); ++body) {
      for (size_t i = 0; i < tuned[0].choices[body].size(); ++i) add_report(static_cast<int>(body), i, tuned[0]);
    }
  }

  /// What was measured goes to the timing cache, whether the build succeeds, fails or is cancelled.
  template <class F>
  void with_timing_cache(F body) {
    std::string path = timing_cache_path(config_.timing_cache, target_);
    if (!path.empty()) cache_.load(path);
    auto save = [&] {
      if (path.empty()) return;
      try {
        cache_.save(path);
      } catch (const Error& error) {
        if (config_.timing_cache != "default") throw;
        TUYERE_LOG(Warning, "the timing cache is not kept: " << error.message());
      }
    };
    try {
      body();
    } catch (const Error&) {
      save();
      throw;
    }
    save();
  }

  Tuned tune(const OptimizationProfile& profile) {
    Tuned tuned{&profile, hints_of(profile), {}, {}};
    std::vector<Problem> all;
    for (int body = 0; body < static_cast<int>(net_.bodies.size()); ++body) {
      tuned.problems.push_back(make_problems(net_, body, placements_[body], tuned.hints, config_.deterministic));
      all.insert(all.end(), tuned.problems.back().begin(), tuned.problems.back().end());
    }
    ChooseStats stats;
    std::vector<Choice> choices = choose(all, target_, config_, cache_, stats);
    auto next = choices.begin();
    for (const std::vector<Problem>& problems : tuned.problems) {
      tuned.choices.emplace_back(std::make_move_iterator(next), std::make_move_iterator(next + problems.size()));
      next += problems.size();
    }
    report_.timed += stats.timed;
    report_.cache_hits += stats.cache_hits;
    report_.tune_seconds += stats.seconds;
    report_.phases.insert(report_.phases.end(), stats.phases.begin(), stats.phases.end());
    phase_begin_ = Clock::now();
    return tuned;
  }

  /// The main body's choices, checked in the whole network. On a CPU the races of single kernels say nearly the same.
  void refine(Tuned& tuned) {
    if (config_.optimization_level < (target_.is_cuda() ? 3 : kExhaustive)) return;
    const auto begin = Clock::now();
    const std::unique_ptr<NetworkTimer> rehearsal = target_.present ? make_rehearsal(tuned.problems[0], target_) : nullptr;
    NetworkCheck check{rehearsal.get()};
    check.make = [&](const Problem& problem, const TimedCandidate& candidate) -> Result<StepSpec> {
      for (const auto& tactic : tactics(problem.op, target_))
        if (tactic->name() == candidate.tactic) return make_step(problem, *tactic, candidate.config, target_, config_);
      return Status(Code::Internal, "no tactic " + candidate.tactic);
    };
    check.progress = [&](int done, int total) { report_progress(config_, "tune", done, total, "the whole network"); };
    check.exhaustive = config_.optimization_level >= kExhaustive;
    report_.timed += check_in_network(tuned.problems[0], tuned.choices[0], check, cache_);
    report_.phases.emplace_back("network", seconds_since(begin));
    phase_begin_ = Clock::now();
  }

  /// Emits a body and, after it, those that it runs; returns its number in the plan.
  int emit_program(const Tuned& tuned, int body, int number) {
    std::vector<PlanBody>& bodies = file_.plan.bodies;
    if (number == kAppend) {
      number = static_cast<int>(bodies.size());
      bodies.emplace_back();
    }
    static const OptimizationProfile none;
    PlanBody emitted = emit_body({net_, placements_[body], tuned.problems[body], tuned.choices[body], body == 0 ? *tuned.profile : none, {}, body});
    for (size_t s = 0; s < emitted.steps.size(); ++s) {
      const Op& op = net_.bodies[body].layers[placements_[body].steps[s]].op;
      for (int64_t inner : bodies_of(op)) emitted.steps[s].bodies.push_back(emit_program(tuned, static_cast<int>(inner), kAppend));
    }
    bodies[number] = std::move(emitted);
    return number;
  }

  static std::vector<int64_t> bodies_of(const Op& op) {
    if (const auto* o = std::get_if<If>(&op)) return {o->then_body, o->else_body};
    if (const auto* o = std::get_if<While>(&op)) return {o->cond_body, o->loop_body};
    if (const auto* o = std::get_if<Call>(&op)) return {o->body};
    return {};
  }

  void add_report(int body, size_t step, const Tuned& tuned) {
    const Layer& layer = net_.bodies[body].layers[placements_[body].steps[step]];
    const Choice& choice = tuned.choices[body][step];
    std::string name = (body ? "body " + std::to_string(body) + ": " : "") + step_name(layer.op);
    report_.layers.push_back(
        {name, std::string(tuyere::name(layer.op)), choice.tactic, choice.config, choice.micros, origin_lines(layer.origins), choice.why_not});
  }

  void add_constant(const Constant& constant, const TensorType& type) {
    std::string name = file_name(constant);
    if (file_.constants.count(name)) return;
    file_.constants[name] = stored_constant(constant, type);
  }

  void add_constants(const Network& network, int body = 0) {
    for (const Tensor& tensor : network.bodies[body].tensors) {
      if (tensor.constant < 0) continue;
      ErrorFrame frame("storing constant '" + network.constants[tensor.constant].name + "'");
      add_constant(network.constants[tensor.constant], tensor.type);
    }
  }

  BuiltEngine finish() {
    Plan& plan = file_.plan;
    plan.target = target_.arch();
    plan.device_name = target_.device_name;
    drop_unused_constants();
    Packing packing = arena_at(plan.bodies[0], hints_of(profiles_[0]));
    report_.arena_bytes = packing.total;
    report_.arena_lower_bound = packing.lower_bound;
    for (const PlanBuffer& buffer : plan.bodies[0].buffers) {
      if (buffer.kind == BufferKind::constant) report_.weight_bytes += buffer.bytes.value();
    }
    plan.meta["tuyere"] = kVersion;
    plan.meta["libraries"] = str(versions_);
    plan.meta["network"] = str(net_);
    plan.meta["options"] = options_text(config_);
    plan.meta["report"] = to_json(report_, true);
    BuiltEngine engine;
    if (config_.weights != "engine") take_weights_out(engine);
    engine.bytes = write_engine(file_);
    report_progress(config_, "emit", 1, 1, net_.name);
    return engine;
  }

  void take_weights_out(BuiltEngine& engine) {
    PlanConstants weights;
    std::set<std::string> made;
    if (file_.plan.weight_body >= 0) {
      for (const PlanIo& io : file_.plan.bodies[file_.plan.weight_body].outputs) made.insert(io.name);
    }
    for (auto& [name, constant] : file_.constants) {
      if (!name.starts_with("param/") && !made.count(name)) continue;
      weights[name] = constant;
      constant.data = nullptr;
      constant.keep = nullptr;
    }
    file_.plan.meta["weights"] = config_.weights;
    file_.plan.meta["weights_id"] = weights_id(weights);
    if (config_.weights == "separate") engine.weights = write_weights(weights, file_.plan.meta["weights_id"]);
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
  Versions versions_;
  TimingCache cache_;
  std::vector<OptimizationProfile> profiles_;
  std::vector<Placement> placements_;  // by body
  EngineFile file_;
  BuildReport report_;
  Clock::time_point phase_begin_ = Clock::now();
};

}  // namespace

BuiltEngine build(Network network, const BuilderConfig& config) { return Build(std::move(network), config).run(); }

}  // namespace tuyere
