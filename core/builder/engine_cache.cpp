// SPDX-License-Identifier: Apache-2.0
#include "core/builder/engine_cache.h"

#include <chrono>
#include <cstring>

#include "common/env.h"
#include "common/error.h"
#include "common/log.h"
#include "core/builder/describe.h"
#include "core/builder/files.h"
#include "core/builder/timing_cache.h"
#include "runtime/plan/plan.h"

namespace tuyere {
namespace {

std::vector<std::byte> to_bytes(const std::string& text) {
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

std::string_view view(const std::vector<std::byte>& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// The timing cache when it is part of what was asked for: one that the user named, or that of a device that is not here to be measured.
bool times_decide(const BuilderConfig& config, const Target& target) {
  return !config.timing_cache.empty() && (config.timing_cache != "default" || !target.present);
}

std::optional<std::string> deciding_times(const BuilderConfig& config, const Target& target) {
  return times_decide(config, target) ? read_file(timing_cache_path(config.timing_cache, target)) : std::nullopt;
}

/// The engine at `path`, when it is there and runs here.
std::optional<BuiltEngine> take(const std::string& path, const BuilderConfig& config) {
  const auto text = read_file(path);
  if (!text) return std::nullopt;
  BuiltEngine engine;
  engine.bytes = to_bytes(*text);
  Result<EngineFile> file = read_engine(engine.bytes, nullptr);
  Status status = file.is_ok() ? check_engine(engine.bytes) : file.status();
  if (status.is_ok() && config.weights == "separate") {
    engine.weights_path = weights_path(path);
    PlanConstants constants = file->constants;
    status = open_weights(engine.weights_path, file->plan.meta.at("weights_id"), constants);
  }
  if (!status.is_ok()) {
    TUYERE_LOG(Warning, "cached engine '" << path << "' is built again: " << status.message());
    return std::nullopt;
  }
  auto report = file->plan.meta.find("report");
  if (report != file->plan.meta.end()) engine.report = parse_report(report->second);
  engine.report.from_cache = true;
  return engine;
}

/// A cache that cannot be written costs time, not the result.
void put(const std::string& path, BuiltEngine& engine) {
  try {
    if (!engine.weights.empty()) {
      write_file(weights_path(path), view(engine.weights));
      engine.weights_path = weights_path(path);
      engine.weights.clear();
    }
    write_file(path, view(engine.bytes));
  } catch (const Error& error) {
    TUYERE_LOG(Warning, "the engine cache is not used: " << error.message());
  }
}

}  // namespace

std::string engine_key(const Network& network, const BuilderConfig& config, const Target& target) {
  std::string text =
      device_key(target) + (target.present ? "" : ", absent") + "\n" + str(library_versions(target)) + "\n" + builder_id() + "\n" + options_text(config) + "\n";
  if (const auto times = deciding_times(config, target)) text += content_id(std::as_bytes(std::span(*times))) + "\n";
  text += str(network);
  for (const Constant& constant : network.constants) {
    text += "\n" + constant.name + (constant.param ? " param " : " literal ") + (constant.data ? content_id(*constant.data) : "no data");
  }
  return content_id(std::as_bytes(std::span(text)));
}

BuiltEngine build_cached(Network network, const BuilderConfig& config) {
  if (config.engine_cache.empty() || !env("TUYERE_DUMP").empty()) return build(std::move(network), config);  // a dump shows a build
  const auto begin = std::chrono::steady_clock::now();
  const Target target = find_target(config.target);
  const std::string folder = config.engine_cache == "default" ? cache_dir() + "/engines" : config.engine_cache;
  const auto path = [&] { return folder + "/" + engine_key(network, config, target) + ".tuyere"; };
  const bool to_be_filled = config.timing_cache != "default" && times_decide(config, target) && !deciding_times(config, target);
  if (auto engine = to_be_filled ? std::nullopt : take(path(), config)) {
    engine->report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return std::move(*engine);
  }
  BuiltEngine engine = build(network, config);
  put(path(), engine);  // the build may have added times, which the next key sees
  return engine;
}

}  // namespace tuyere
