// SPDX-License-Identifier: Apache-2.0
// BuildReport <-> JSON.
#include <nlohmann/json.hpp>

#include "common/error.h"
#include "core/builder/builder.h"

namespace tuyere {
namespace {

using Json = nlohmann::ordered_json;

Json layer_json(const LayerReport& layer) {
  return {{"name", layer.name},     {"op", layer.op},           {"tactic", layer.tactic},  {"config", layer.config},
          {"micros", layer.micros}, {"origins", layer.origins}, {"why_not", layer.why_not}};
}

Json pass_json(const PassTrace& pass, bool kept) {
  Json json{{"name", pass.name}, {"changed", pass.changed}, {"layers_before", pass.layers_before}, {"layers_after", pass.layers_after}};
  if (!kept) json["seconds"] = pass.seconds;
  return json;
}

LayerReport read_layer(const Json& json) {
  return {json.at("name"),
          json.at("op"),
          json.at("tactic"),
          json.at("config"),
          json.at("micros"),
          json.at("origins").get<std::vector<std::string>>(),
          json.at("why_not").get<std::vector<std::string>>()};
}

}  // namespace

std::string to_json(const BuildReport& report, bool kept) {
  Json layers = Json::array(), passes = Json::array();
  for (const LayerReport& layer : report.layers) layers.push_back(layer_json(layer));
  for (const PassTrace& pass : report.passes) passes.push_back(pass_json(pass, kept));
  Json json{{"layers", layers},
            {"passes", passes},
            {"arena_bytes", report.arena_bytes},
            {"arena_lower_bound", report.arena_lower_bound},
            {"weight_bytes", report.weight_bytes}};
  if (kept) return json.dump();
  json["seconds"] = report.seconds;
  json["tune_seconds"] = report.tune_seconds;
  json["phases"] = Json::object();
  for (const auto& [phase, seconds] : report.phases) json["phases"][phase] = json["phases"].value(phase, 0.0) + seconds;  // a phase per profile adds up
  json["timed"] = report.timed;
  json["cache_hits"] = report.cache_hits;
  json["from_cache"] = report.from_cache;
  return json.dump();
}

BuildReport parse_report(const std::string& text) {
  try {
    const Json json = Json::parse(text);
    BuildReport report;
    for (const Json& layer : json.at("layers")) report.layers.push_back(read_layer(layer));
    for (const Json& pass : json.at("passes"))
      report.passes.push_back({pass.at("name"), pass.at("changed"), pass.value("seconds", 0.0), pass.at("layers_before"), pass.at("layers_after")});
    report.arena_bytes = json.at("arena_bytes");
    report.arena_lower_bound = json.at("arena_lower_bound");
    report.weight_bytes = json.at("weight_bytes");
    return report;
  } catch (const nlohmann::json::exception& error) {
    USER_CHECK(false, "not a build report: " << error.what());
  }
  return {};
}

}  // namespace tuyere
