// SPDX-License-Identifier: Apache-2.0
#include "core/builder/choose.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "common/error.h"
#include "common/log.h"
#include "core/builder/alike.h"
#include "core/builder/candidates.h"
#include "core/builder/parallel.h"
#include "core/builder/timing.h"

namespace tuyere {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kNear = 1.3;  // a candidate so many times slower than the fastest may still be faster in its network; level 5 asks all
constexpr int kOfWinner = 5;   // configurations of the fastest tactic that come into question there
constexpr int kEverything = 5;
constexpr int kOneForAlike = 3;  // the last level where one question answers for those alike
constexpr size_t kOfLeader = 4;  // candidates that they try
// What a call of a library on the CPU costs in a program beside its time in a race, which finds the library's own code and tables in the caches: 2 to 4 us in
// the steps of small models.
constexpr double kLibraryCallMicros = 2;

/// A candidate and what became of it.
struct Trial {
  Candidate candidate;
  std::optional<StepSpec> spec;
  std::optional<double> micros;
  std::string error;
};

struct Question {
  const Problem* problem = nullptr;
  std::string key;
  std::vector<Trial> trials;
  Choice choice;
};

class Chooser {
 public:
  Chooser(const Target& target, const BuilderConfig& config, TimingCache& cache, ChooseStats& stats)
      : target_(target), config_(config), cache_(cache), stats_(stats) {}

  std::vector<Choice> run(const std::vector<Problem>& problems) {
    Clock::time_point begin = Clock::now();
    std::vector<int> question_of = collect(problems);
    end_phase("candidates");
    if (config_.optimization_level >= 2) look_up();
    if (config_.optimization_level >= 2 && target_.present) time_missing();
    decide();
    end_phase("finish");
    std::vector<Choice> choices;
    for (int q : question_of) choices.push_back(questions_[q].choice);
    stats_.seconds += std::chrono::duration<double>(Clock::now() - begin).count();
    return choices;
  }

 private:
  /// Seconds since the last phase ended.
  void end_phase(const std::string& name) {
    const Clock::time_point now = Clock::now();
    stats_.phases.emplace_back(name, std::chrono::duration<double>(now - phase_begin_).count());
    phase_begin_ = now;
  }

  std::vector<int> collect(const std::vector<Problem>& problems) {
    std::map<std::string, int> numbers;
    std::vector<int> question_of;
    for (const Problem& problem : problems) {
      auto [it, fresh] = numbers.try_emplace(key(problem), static_cast<int>(questions_.size()));
      if (fresh) questions_.push_back({&problem, it->first});
      question_of.push_back(it->second);
    }
    // In parallel, because libraries take milliseconds to say which algorithms they have.
    parallel_for(static_cast<int>(questions_.size()), config_.num_threads, [&](int i) { ask(questions_[static_cast<size_t>(i)]); });
    return question_of;
  }

  void ask(Question& question) const {
    const Problem& problem = *question.problem;
    if (group(problem.op) == OpGroup::control) {
      const auto* call = std::get_if<HostCall>(&problem.op);
      question.choice.tactic = call ? "host." + call->op : "control." + std::string(name(problem.op));
      return;
    }
    Candidates candidates = find_candidates(problem, target_, tactics(problem.op, target_), config_.tactic_sources, config_.optimization_level);
    question.choice.why_not = candidates.why_not;
    USER_CHECK(!candidates.list.empty(), "no kernel for " << question.key << " on " << target_.arch() << reasons(question.choice.why_not));
    for (Candidate& candidate : candidates.list) question.trials.push_back({std::move(candidate)});
  }

  static std::string reasons(const std::vector<std::string>& why_not) {
    std::string text;
    for (const std::string& reason : why_not) text += "\n  " + reason;
    return text;
  }

  void look_up() {
    for (Question& question : questions_) {
      for (Trial& trial : question.trials) {
        trial.micros = cache_.find(question.key, std::string(trial.candidate.tactic->name()), trial.candidate.config);
        stats_.cache_hits += trial.micros.has_value();
      }
      add_cached(question);
    }
  }

  /// Earlier builds may have timed more than this level would.
  void add_cached(Question& question) {
    for (const TimedCandidate& timed : cache_.find(question.key)) {
      if (known(question, timed)) continue;
      auto same = std::find_if(question.trials.begin(), question.trials.end(), [&](const Trial& t) { return t.candidate.tactic->name() == timed.tactic; });
      if (same == question.trials.end()) continue;
      const Tactic* tactic = same->candidate.tactic;
      question.trials.push_back({{tactic, timed.config, 0, false}, std::nullopt, timed.micros, ""});
    }
  }
  static bool known(const Question& question, const TimedCandidate& timed) {
    return std::any_of(question.trials.begin(), question.trials.end(),
                       [&](const Trial& t) { return t.candidate.tactic->name() == timed.tactic && t.candidate.config == timed.config; });
  }

  /// Of problems that are alike one is asked all, and the others only what it found fast; level 4 asks everyone all.
  void time_missing() {
    std::vector<const Problem*> problems;
    std::vector<Question*> asked, first, others;
    for (Question& question : questions_) {
      if (question.trials.empty()) continue;
      asked.push_back(&question);
      problems.push_back(question.problem);
    }
    const std::vector<int> leaders = find_leaders(problems);
    std::vector<const Question*> followed;
    for (size_t q = 0; q < asked.size(); ++q) {
      const Question* leader = asked[static_cast<size_t>(leaders[q])];
      const bool leads = leader == asked[q] || config_.optimization_level > kOneForAlike;
      (leads ? first : others).push_back(asked[q]);
      if (!leads) followed.push_back(leader);
    }
    race(first);
    for (size_t q = 0; q < others.size(); ++q) follow(*others[q], *followed[q]);
    race(others);
  }

  /// Leaves only those candidates of a question in the race that were fast for one alike, or the best of their tactic where it has no such configuration.
  static void follow(Question& question, const Question& leader) {
    std::vector<const Trial*> fast;
    for (const Trial& trial : leader.trials) {
      if (trial.micros) fast.push_back(&trial);
    }
    if (fast.empty()) return;
    std::stable_sort(fast.begin(), fast.end(), [](const Trial* a, const Trial* b) { return *a->micros < *b->micros; });
    const double slowest = kNear * *fast[0]->micros;
    std::set<const Trial*> wanted;
    for (const Trial* trial : fast) {
      if (wanted.size() == kOfLeader || *trial->micros > slowest) break;
      const auto fits = [&](const Trial& own, bool exactly) {
        return !own.candidate.reserve && own.candidate.tactic == trial->candidate.tactic && (!exactly || own.candidate.config == trial->candidate.config);
      };
      auto own = std::find_if(question.trials.begin(), question.trials.end(), [&](const Trial& t) { return fits(t, true); });
      if (own == question.trials.end()) own = std::find_if(question.trials.begin(), question.trials.end(), [&](const Trial& t) { return fits(t, false); });
      if (own != question.trials.end()) wanted.insert(&*own);
    }
    if (wanted.empty()) return;
    for (Trial& trial : question.trials) trial.candidate.reserve |= wanted.count(&trial) == 0;
  }

  /// Candidates that lack a time are compiled in parallel, all of them, and then timed, question by question. A single candidate needs no time.
  void race(const std::vector<Question*>& questions) {
    std::vector<std::pair<Question*, Trial*>> missing;
    std::vector<Question*> open;
    for (Question* question : questions) {
      size_t before = missing.size();
      const auto races = std::count_if(question->trials.begin(), question->trials.end(), [](const Trial& t) { return t.micros || !t.candidate.reserve; });
      for (Trial& trial : question->trials) {
        if (races > 1 && !trial.candidate.reserve && !trial.micros) missing.push_back({question, &trial});
      }
      if (missing.size() > before) open.push_back(question);
    }
    compile(missing);
    end_phase("compile");
    int done = 0;
    for (Question* question : open) {
      report_progress(config_, "tune", done++, static_cast<int>(open.size()), question->key);
      time(*question);
    }
    end_phase("time");
  }

  /// Libraries that compile while they plan take longest, so they go first, and in turns: the candidates of one question share a kernel for the epilogue, which
  /// they would wait for together. Only this thread reports: a callback may belong to it.
  void compile(std::vector<std::pair<Question*, Trial*>>& missing) const {
    const auto turn = [](const std::pair<Question*, Trial*>& m) {
      constexpr std::ptrdiff_t kLast = PTRDIFF_MAX;
      return m.second->candidate.tactic->source() == "own" ? kLast : m.second - m.first->trials.data();
    };
    std::stable_sort(missing.begin(), missing.end(), [&](const auto& a, const auto& b) { return turn(a) < turn(b); });
    const std::thread::id here = std::this_thread::get_id();
    std::atomic<int> done{0};
    parallel_for(static_cast<int>(missing.size()), config_.num_threads, [&](int i) {
      auto [question, trial] = missing[static_cast<size_t>(i)];
      if (std::this_thread::get_id() == here) report_progress(config_, "compile", done, static_cast<int>(missing.size()), question->key);
      make(*question, *trial);
      ++done;
    });
  }

  void make(const Question& question, Trial& trial) const {
    if (trial.spec || !trial.error.empty()) return;
    Result<StepSpec> spec = make_step(*question.problem, *trial.candidate.tactic, trial.candidate.config, target_, config_);
    if (spec.is_ok()) {
      trial.spec = std::move(*spec);
    } else {
      trial.error = spec.status().message();
    }
  }

  void time(Question& question) {
    std::vector<Trial*> trials;
    std::vector<const StepSpec*> specs;
    for (Trial& trial : question.trials) {
      if (trial.micros || !trial.spec) continue;
      trials.push_back(&trial);
      specs.push_back(&*trial.spec);
    }
    std::vector<Timing> timings = time_steps(*question.problem, specs, target_);
    for (size_t i = 0; i < trials.size(); ++i) {
      if (!timings[i].error.empty()) {
        trials[i]->error = timings[i].error;
        continue;
      }
      TimedCandidate timed{std::string(trials[i]->candidate.tactic->name()), trials[i]->candidate.config, timings[i].micros};
      cache_.add(question.key, timed);
      trials[i]->micros = cache_.find(question.key, timed.tactic, timed.config);
      TUYERE_LOG(Debug, timed.micros << " us " << timed.tactic << " " << timed.config << " | " << question.key);
      ++stats_.timed;
    }
  }

  void decide() {
    for (Question& question : questions_) {
      std::stable_sort(question.trials.begin(), question.trials.end(), [&](const Trial& a, const Trial& b) {
        if (a.micros.has_value() != b.micros.has_value()) return a.micros.has_value();
        return a.micros ? in_program(a) < in_program(b) : a.candidate.reserve < b.candidate.reserve;
      });
    }
    int total = static_cast<int>(questions_.size());
    report_progress(config_, "compile", 0, total, "");
    parallel_for(total, config_.num_threads, [&](int i) { settle(questions_[i]); });
  }

  double in_program(const Trial& trial) const {
    const bool library = !target_.is_cuda() && trial.candidate.tactic->source() != "own";
    return *trial.micros + (library ? kLibraryCallMicros : 0);
  }

  /// The first candidate that works; one that failed makes way for the next.
  void settle(Question& question) const {
    if (group(question.problem->op) == OpGroup::control) return;
    if (!settle(question, question.trials)) {
      // What the level leaves out may need less workspace.
      Candidates all = find_candidates(*question.problem, target_, tactics(question.problem->op, target_), config_.tactic_sources, kEverything, true);
      std::vector<Trial> rest;
      for (Candidate& candidate : all.list) rest.push_back({std::move(candidate)});
      settle(question, rest);
    }
    USER_CHECK(!question.choice.tactic.empty(), "every kernel failed for " << question.key << reasons(question.choice.why_not));
  }

  bool settle(Question& question, std::vector<Trial>& trials) const {
    for (Trial& trial : trials) {
      make(question, trial);
      if (trial.error.empty()) {
        Choice choice{std::string(trial.candidate.tactic->name()), trial.candidate.config, std::move(*trial.spec), trial.micros.value_or(0)};
        choice.why_not = std::move(question.choice.why_not);
        choice.runners_up = runners_up(trials, trial);
        question.choice = std::move(choice);
        return true;
      }
      const std::string reason = std::string(trial.candidate.tactic->name()) + " " + trial.candidate.config + ": " + trial.error;
      auto& known = question.choice.why_not;
      if (std::find(known.begin(), known.end(), reason) == known.end()) known.push_back(reason);
    }
    return false;
  }

  /// `trials` are sorted by their times.
  std::vector<TimedCandidate> runners_up(const std::vector<Trial>& trials, const Trial& winner) const {
    const double slowest = config_.optimization_level >= kEverything ? INFINITY : kNear * winner.micros.value_or(0);
    std::vector<TimedCandidate> others, relatives;  // other kernels tell more than other tiles
    std::map<const Tactic*, int> taken{{winner.candidate.tactic, 1}};
    for (const Trial& trial : trials) {
      const bool relative = trial.candidate.tactic == winner.candidate.tactic;
      if (&trial == &winner || !trial.micros || !trial.error.empty() || *trial.micros > slowest) continue;
      if (taken[trial.candidate.tactic]++ >= (relative ? kOfWinner : 1)) continue;
      (relative ? relatives : others).push_back({std::string(trial.candidate.tactic->name()), trial.candidate.config, *trial.micros});
    }
    others.insert(others.end(), relatives.begin(), relatives.end());
    return others;
  }

  const Target& target_;
  const BuilderConfig& config_;
  TimingCache& cache_;
  ChooseStats& stats_;
  std::vector<Question> questions_;
  Clock::time_point phase_begin_ = Clock::now();
};

}  // namespace

Result<StepSpec> make_step(const Problem& problem, const Tactic& tactic, const std::string& config, const Target& target, const BuilderConfig& options) {
  try {
    StepSpec spec = tactic.make(problem, target, config);
    const int64_t workspace = options.workspace_size < 0 ? 0 : workspace_at_hints(problem, spec, target);
    if (options.workspace_size < 0 || workspace <= options.workspace_size) return spec;
    return Status(Code::FailedPrecondition, "needs " + std::to_string(workspace) + " bytes of workspace, more than workspace_size");
  } catch (const Error& error) {
    TUYERE_LOG(Warning, tactic.name() << " " << config << " failed for " << key(problem) << ": " << error.what());
    return Status(Code::FailedPrecondition, error.message());
  }
}

std::string names_of(const std::vector<Choice>& choices) {
  std::string text;
  for (const Choice& choice : choices) text += choice.tactic + " " + choice.config + "\n";
  return text;
}

void report_progress(const BuilderConfig& config, const std::string& phase, int done, int total, const std::string& what) {
  USER_CHECK(!config.progress || config.progress(phase, done, total, what), "cancelled");
}

std::vector<Choice> choose(const std::vector<Problem>& problems, const Target& target, const BuilderConfig& config, TimingCache& cache, ChooseStats& stats) {
  return Chooser(target, config, cache, stats).run(problems);
}

}  // namespace tuyere
