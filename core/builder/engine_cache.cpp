// SPDX-License-Identifier: Apache-2.0
#include "core/builder/engine_cache.h"

#include <cstring>
#include <sstream>

#include "common/env.h"
#include "common/error.h"
#include "common/log.h"
#include "core/builder/files.h"
#include "core/builder/timing_cache.h"
#include "core/builder/version.h"
#include "runtime/plan/plan.h"

namespace tuyere {
namespace {

std::string describe(const BuilderConfig& config) {
  std::ostringstream text;
  text << config.precision << " " << config.optimization_level << " " << config.workspace_size << " " << config.deterministic << " " << config.cuda_graphs;
  for (const std::string& source : config.tactic_sources) text << " +" << source;
  for (const std::string& pass : config.disabled_passes) text << " -" << pass;
  for (const OptimizationProfile& profile : config.profiles) {
    text << "\nprofile";
    for (const auto& [name, range] : profile.symbols) text << " " << name << "=" << range.min << ":" << range.opt << ":" << range.max;
  }
  return text.str();
}

std::string path_of(const std::string& key) { return cache_dir() + "/engines/" + key + ".tuyere"; }

}  // namespace

std::string engine_key(const Network& network, const BuilderConfig& config, const Target& target) {
  std::string text = std::string(kVersion) + "\n" + device_key(target) + "\n" + describe(config) + "\n" + str(network);
  for (const Constant& constant : network.constants) {
    text += "\n" + constant.name + (constant.param ? " param " : " literal ") + (constant.data ? content_id(*constant.data) : "no data");
  }
  return content_id(std::as_bytes(std::span(text)));
}

BuiltEngine build_cached(Network network, const BuilderConfig& config) {
  std::string path = path_of(engine_key(network, config, find_target(config.target)));
  if (auto bytes = read_file(path)) {
    BuiltEngine engine;
    engine.bytes.resize(bytes->size());
    std::memcpy(engine.bytes.data(), bytes->data(), bytes->size());
    if (check_engine(engine.bytes).is_ok()) return engine;
    TUYERE_LOG(Warning, "cached engine '" << path << "' cannot run here and is built again");
  }
  BuiltEngine engine = build(std::move(network), config);
  write_file(path, {reinterpret_cast<const char*>(engine.bytes.data()), engine.bytes.size()});
  return engine;
}

}  // namespace tuyere
