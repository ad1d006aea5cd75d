// SPDX-License-Identifier: Apache-2.0
#include "core/builder/whole_network.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "common/log.h"
#include "runtime/plan/plan.h"

namespace tuyere {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kWorthwhile = 0.995;  // a smaller gain is noise
constexpr size_t kHottest = 8;         // problems
constexpr double kSeconds = 3;         // no comparison begins later
constexpr double kShare = 0.01;        // of the time of all steps: less cannot be seen in the whole

/// The steps of every distinct problem that has runners-up and a share in the time, the hottest first.
std::vector<std::vector<size_t>> hottest(const std::vector<Problem>& problems, const std::vector<Choice>& choices, size_t most) {
  std::map<std::string, std::vector<size_t>> steps;
  double all = 0;
  for (size_t i = 0; i < problems.size(); ++i) {
    all += choices[i].micros;
    if (!choices[i].runners_up.empty()) steps[key(problems[i])].push_back(i);
  }
  const auto micros = [&](const std::vector<size_t>& list) { return choices[list[0]].micros * static_cast<double>(list.size()); };
  std::vector<std::vector<size_t>> result;
  for (auto& [name, list] : steps)
    if (micros(list) >= kShare * all) result.push_back(std::move(list));
  std::stable_sort(result.begin(), result.end(), [&](const auto& a, const auto& b) { return micros(a) > micros(b); });
  if (result.size() > most) result.resize(most);
  return result;
}

std::string hash(const std::string& text) { return content_id(std::as_bytes(std::span(text))); }

std::string network_key(const std::vector<Problem>& problems, bool exhaustive) {
  std::string all;
  for (const Problem& problem : problems) all += key(problem) + "\n";
  return "network " + hash(all) + (exhaustive ? ", all layers" : "");
}

std::string name_of(const std::vector<Choice>& choices) { return hash(names_of(choices)); }

class Checker {
 public:
  Checker(const std::vector<Problem>& problems, std::vector<Choice>& choices, const NetworkCheck& check, TimingCache& cache)
      : problems_(problems),
        choices_(choices),
        check_(check),
        cache_(cache),
        network_(network_key(problems, check.exhaustive)),
        known_(!cache.find(network_).empty()) {}

  int run() {
    const std::vector<std::vector<size_t>> hot = hottest(problems_, choices_, check_.exhaustive ? problems_.size() : kHottest);
    for (size_t i = 0; i < hot.size(); ++i) {
      if (check_.progress) check_.progress(static_cast<int>(i), static_cast<int>(hot.size()));
      const std::vector<TimedCandidate> runners_up = choices_[hot[i][0]].runners_up;
      for (const TimedCandidate& other : runners_up) {
        if (!try_out(hot[i], other)) return measured_;
      }
    }
    return measured_;
  }

 private:
  /// Takes the runner-up where it makes the network faster. False: nothing more can be learnt.
  bool try_out(const std::vector<size_t>& steps, const TimedCandidate& other) {
    std::vector<Choice> changed = choices_;
    for (size_t i : steps) {
      changed[i].tactic = other.tactic;
      changed[i].config = other.config;
      changed[i].micros = other.micros;
    }
    std::optional<std::pair<double, double>> known = look_up(choices_, changed);
    if (known && !worthwhile(*known)) return true;
    if (!known && (!check_.timer || known_ || late())) return false;
    const Result<StepSpec> spec = check_.make(problems_[steps[0]], other);
    if (!spec.is_ok()) return true;
    for (size_t i : steps) changed[i].spec = spec.value();
    if (!known) known = measure(choices_, changed);
    if (!known) return false;
    if (!worthwhile(*known)) return true;
    TUYERE_LOG(Info, "in the network " << known->second << " us instead of " << known->first << " us with " << other.tactic << " " << other.config);
    choices_ = std::move(changed);
    return true;
  }

  static bool worthwhile(const std::pair<double, double>& micros) { return micros.second < kWorthwhile * micros.first; }

  std::optional<std::pair<double, double>> look_up(const std::vector<Choice>& now, const std::vector<Choice>& changed) const {
    const auto first = cache_.find(network_, "whole", name_of(now));
    const auto second = cache_.find(network_, "whole", name_of(changed));
    return first && second ? std::optional(std::pair{*first, *second}) : std::nullopt;
  }

  /// Clocks drift, so that only the ratio of what was measured in turns counts: the cache holds times relative to the first one.
  std::optional<std::pair<double, double>> measure(const std::vector<Choice>& now, const std::vector<Choice>& changed) {
    auto result = check_.timer->compare(now, changed);
    if (!result.is_ok()) {
      TUYERE_LOG(Warning, "the whole network cannot be timed: " << result.status().message());
      return std::nullopt;
    }
    ++measured_;
    if (!cache_.find(network_, "whole", name_of(now))) cache_.add(network_, {"whole", name_of(now), result->first});
    const double base = *cache_.find(network_, "whole", name_of(now));
    cache_.add(network_, {"whole", name_of(changed), base * result->second / result->first});
    return look_up(now, changed);
  }

  bool late() const { return !check_.exhaustive && std::chrono::duration<double>(Clock::now() - begin_).count() > kSeconds; }

  const std::vector<Problem>& problems_;
  std::vector<Choice>& choices_;
  const NetworkCheck& check_;
  TimingCache& cache_;
  const std::string network_;
  const bool known_;  // by an earlier build, which decided with what it knew
  const Clock::time_point begin_ = Clock::now();
  int measured_ = 0;
};

}  // namespace

int check_in_network(const std::vector<Problem>& problems, std::vector<Choice>& choices, const NetworkCheck& check, TimingCache& cache) {
  return Checker(problems, choices, check, cache).run();
}

}  // namespace tuyere
