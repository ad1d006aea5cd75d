// SPDX-License-Identifier: Apache-2.0
// The public builder API: Network + BuilderConfig -> engine bytes. The PyTorch front end is one client of it.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/network/network.h"
#include "core/passes/pass.h"
#include "kernels/api/problem.h"

namespace tuyere {

/// Range of each symbol, and the size to tune for. An engine with several profiles runs the first one whose ranges hold the sizes of a call, with
/// kernels chosen for that profile's sizes.
struct OptimizationProfile {
  struct Range {
    int64_t min = 0, opt = 1, max = INT64_MAX;
  };
  std::map<std::string, Range> symbols;
};

/// phase: "optimize", "tune", "compile", "emit". Return false to cancel: build() throws Error{User} "cancelled", caches keep what was measured.
using ProgressFn = std::function<bool(const std::string& phase, int done, int total, const std::string& what)>;

struct BuilderConfig {
  std::string target = "cpu";  // "cpu", "cuda" (the present device), "cuda:1", "sm_80", "sm_90a", "sm_100a"
  std::string precision = "as_is";
  int optimization_level = 3;               // 0 first supported, nothing timed .. 5 exhaustive
  int64_t workspace_size = -1;              // bytes per step; -1: no limit
  std::vector<std::string> tactic_sources;  // empty: all. "own", "cudnn", "cublaslt", "onednn", "reference"
  std::string timing_cache = "default";     // path, "default" (user cache folder), or "" for none
  std::string engine_cache = "";            // folder, "default" (user cache folder), or "" for none: of build_cached()
  std::string weights = "engine";           // "engine": in the file; "separate": in a second file; "shared": nowhere, the caller lends them at load
  std::vector<OptimizationProfile> profiles;
  std::vector<std::string> disabled_passes;
  bool deterministic = true;
  bool cuda_graphs = true;
  bool tf32_matmul = false, tf32_conv = false;  // PyTorch's flags: TF32 for products of f32 data
  int num_threads = 0;                          // of parallel compilation; 0: all cores
  ProgressFn progress;
};

/// One line per layer of the finished engine.
struct LayerReport {
  std::string name, op, tactic, config;
  double micros = 0;
  std::vector<std::string> origins;
  std::vector<std::string> why_not;  // "cudnn.conv: channels not a multiple of 8"
};
struct BuildReport {
  std::vector<LayerReport> layers;
  std::vector<PassTrace> passes;
  int64_t arena_bytes = 0, arena_lower_bound = 0, weight_bytes = 0;
  double seconds = 0, tune_seconds = 0;
  std::vector<std::pair<std::string, double>> phases;  // seconds of "optimize", "weights", "candidates", "compile", "time", "finish", "emit", in order
  int timed = 0, cache_hits = 0;
  bool from_cache = false;  // the whole engine: nothing was built
};
/// As JSON. What differs between two builds of the same engine (seconds, cache hits) is left out of the text that the engine file keeps.
std::string to_json(const BuildReport& report, bool kept = false);
BuildReport parse_report(const std::string& json);

struct BuiltEngine {
  std::vector<std::byte> bytes;    // an engine file
  std::vector<std::byte> weights;  // weights "separate": the second file
  std::string weights_path;        // where that file is already (engine cache), "" when only `weights` has it
  BuildReport report;
};

/// Throws Error. The network is taken by value: the caller's is untouched.
BuiltEngine build(Network network, const BuilderConfig& config);

/// The machine a target string names, with its properties (queried when present, typical values when absent). Error{User} on unknown targets
/// and on "cuda" without a GPU.
Target find_target(const std::string& text);
/// Channels of f32 that convolutions of this machine's CPU like side by side in memory: a vector register's; 0: no preference known.
int64_t cpu_channel_block();

}  // namespace tuyere
