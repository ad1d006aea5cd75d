// SPDX-License-Identifier: Apache-2.0
// What is said about measured calls, as py/tuyere/bench.py says it: the same quantities by the same names.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

namespace tuyere::bench {

/// Of one quantity, in milliseconds per call.
struct Spread {
  double min = 0, mean = 0, median = 0, p90 = 0, p95 = 0, p99 = 0;

  /// `times` is not empty.
  static Spread of(std::vector<double> times) {
    std::sort(times.begin(), times.end());
    const size_t count = times.size();
    // The smallest value that at least the share q of the calls does not exceed.
    const auto at = [&](double q) { return times[static_cast<size_t>(std::ceil(q * static_cast<double>(count))) - 1]; };
    const double median = (times[(count - 1) / 2] + times[count / 2]) / 2;
    return {times[0], std::accumulate(times.begin(), times.end(), 0.0) / static_cast<double>(count), median, at(0.90), at(0.95), at(0.99)};
  }
  nlohmann::ordered_json json() const { return {{"min", min}, {"mean", mean}, {"median", median}, {"p90", p90}, {"p95", p95}, {"p99", p99}}; }
};

/// What makes the numbers doubtful.
inline std::vector<std::string> warnings_of(const std::vector<double>& latencies) {
  std::vector<std::string> found;
  const auto ratio = [](double value) {
    char text[16];
    std::snprintf(text, sizeof text, "%.2f", value);
    return std::string(text);
  };
  const Spread spread = Spread::of(latencies);
  if (spread.p95 > 1.2 * spread.median)
    found.push_back("latencies scatter: p95 is " + ratio(spread.p95 / spread.median) + " of the median; other work on the machine, or clocks that change");
  const auto third = static_cast<std::ptrdiff_t>(std::max<size_t>(1, latencies.size() / 3));
  const double first = Spread::of({latencies.begin(), latencies.begin() + third}).median, last = Spread::of({latencies.end() - third, latencies.end()}).median;
  if (last <= 0.95 * first || last >= 1.05 * first)
    found.push_back("latencies drift: the last third takes " + ratio(last / first) + " of the first; a longer warm-up, or a machine that heats up");
  return found;
}

struct StepReport {
  std::string name, tactic;
  double micros = 0;
};

/// latency: a single call until its results are there; enqueue: until the call returns; device: between events before and after it; throughput: calls per
/// second when the host waits after every eighth; energy: joules per call in that time. What does not apply to the CPU is absent there.
struct TimingReport {
  size_t calls = 0;
  Spread latency, enqueue;
  double throughput = 0;
  std::optional<Spread> device, upload, download;
  std::optional<double> energy;
  std::vector<std::string> warnings;
  std::string mode;
  int64_t weight_bytes = 0, arena_bytes = 0;
  std::vector<StepReport> steps;

  nlohmann::ordered_json json() const {
    const auto spread = [](const std::optional<Spread>& s) { return s ? s->json() : nlohmann::ordered_json(nullptr); };
    nlohmann::ordered_json out{{"calls", calls}, {"latency", latency.json()}, {"enqueue", enqueue.json()}, {"throughput", throughput}};
    out["device"] = spread(device);
    out["upload"] = spread(upload);
    out["download"] = spread(download);
    out["energy"] = energy ? nlohmann::ordered_json(*energy) : nlohmann::ordered_json(nullptr);
    out["warnings"] = warnings;
    out["mode"] = mode;
    out["weight_bytes"] = weight_bytes;
    out["arena_bytes"] = arena_bytes;
    out["steps"] = nlohmann::ordered_json::array();
    for (const StepReport& step : steps) out["steps"].push_back({{"name", step.name}, {"tactic", step.tactic}, {"micros", step.micros}});
    return out;
  }

  void print() const {
    std::printf("%zu calls, %.1f calls/s", calls, throughput);
    if (energy) std::printf(", %.4g J a call", *energy);
    std::printf("\n  %-9s%10s%10s%10s%10s%10s%10s\n", "ms", "min", "mean", "median", "p90", "p95", "p99");
    row("latency", latency);
    row("enqueue", enqueue);
    row("device", device);
    row("upload", upload);
    row("download", download);
    for (const std::string& text : warnings) std::printf("  warning: %s\n", text.c_str());
    std::printf("ran as %s; weights %.2f MB, arena %.2f MB\n", mode.c_str(), static_cast<double>(weight_bytes) / 1e6, static_cast<double>(arena_bytes) / 1e6);
    for (const StepReport& step : steps) std::printf("  %9.1f us  %-32s %s\n", step.micros, step.tactic.c_str(), step.name.c_str());
  }

 private:
  static void row(const char* name, const std::optional<Spread>& s) {
    if (s) std::printf("  %-9s%10.4f%10.4f%10.4f%10.4f%10.4f%10.4f\n", name, s->min, s->mean, s->median, s->p90, s->p95, s->p99);
  }
};

}  // namespace tuyere::bench
