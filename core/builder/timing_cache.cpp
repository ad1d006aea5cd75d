// SPDX-License-Identifier: Apache-2.0
#include "core/builder/timing_cache.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common/env.h"
#include "common/error.h"
#include "core/builder/files.h"

namespace tuyere {
namespace {

using Json = nlohmann::ordered_json;
constexpr int kCacheVersion = 2;

double to_nanosecond(double micros) { return std::round(micros * 1000) / 1000; }

void check_header(const Json& line) {
  USER_CHECK(line.at("tuyere") == "timing cache", "not a timing cache");
  USER_CHECK(line.at("version").get<int>() <= kCacheVersion,
             "timing cache of version " << line.at("version") << "; this library reads up to " << kCacheVersion);
}

}  // namespace

TimingCache::EntryKey TimingCache::entry_key(const std::string& key) const {
  if (!libraries_.empty()) return {device_, libraries_, key};
  std::string newest;
  for (const auto& [name, candidates] : entries_)  // sorted
    if (std::get<0>(name) == device_) newest = std::get<1>(name);
  return {device_, newest, key};
}

std::optional<double> TimingCache::find(const std::string& key, const std::string& tactic, const std::string& config) const {
  auto entry = entries_.find(entry_key(key));
  if (entry == entries_.end()) return std::nullopt;
  auto candidate = entry->second.find({tactic, config});
  if (candidate == entry->second.end()) return std::nullopt;
  return candidate->second;
}

std::vector<TimedCandidate> TimingCache::find(const std::string& key) const {
  std::vector<TimedCandidate> result;
  auto entry = entries_.find(entry_key(key));
  if (entry == entries_.end()) return result;
  for (const auto& [name, micros] : entry->second) result.push_back({name.first, name.second, micros});
  return result;
}

void TimingCache::add(const std::string& key, TimedCandidate candidate) {
  entries_[entry_key(key)][{candidate.tactic, candidate.config}] = to_nanosecond(candidate.micros);
  changed_ = true;
}

int TimingCache::size() const {
  int count = 0;
  for (const auto& [name, candidates] : entries_) count += static_cast<int>(candidates.size());
  return count;
}

void TimingCache::merge(const std::string& text) {
  std::istringstream lines(text);
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.empty()) continue;
    try {
      Json json = Json::parse(line);
      if (json.contains("tuyere")) {
        check_header(json);
        continue;
      }
      auto device = json.at("device").get<std::string>(), key = json.at("key").get<std::string>();
      if (!json.contains("libraries")) continue;
      Candidates& candidates = entries_[{device, json["libraries"].get<std::string>(), key}];
      for (const Json& timed : json.at("timed")) {
        candidates.try_emplace({timed.at("tactic").get<std::string>(), timed.at("config").get<std::string>()}, timed.at("us").get<double>());
      }
    } catch (const nlohmann::json::exception& error) {
      USER_CHECK(false, "timing cache, line " << number << ": " << error.what());
    }
  }
}

std::string TimingCache::str() const {
  std::string text = Json{{"tuyere", "timing cache"}, {"version", kCacheVersion}}.dump() + "\n";
  for (const auto& [name, candidates] : entries_) {
    Json timed = Json::array();
    for (const auto& [candidate, micros] : candidates) timed.push_back({{"tactic", candidate.first}, {"config", candidate.second}, {"us", micros}});
    text += Json{{"device", std::get<0>(name)}, {"libraries", std::get<1>(name)}, {"key", std::get<2>(name)}, {"timed", timed}}.dump() + "\n";
  }
  return text;
}

void TimingCache::load(const std::string& path) {
  ErrorFrame frame("in timing cache '" + path + "'");
  if (auto text = read_file(path)) merge(*text);
}

void TimingCache::save(const std::string& path) {
  if (!changed_) return;
  load(path);
  write_file(path, str());
  changed_ = false;
}

std::string device_key(const Target& target) {
  std::string text = target.device_name + ", " + target.arch();
  if (target.multiprocessors > 0) text += ", " + std::to_string(target.multiprocessors) + (target.is_cuda() ? " SMs" : " threads");
  return text;
}

std::string timing_cache_path(const std::string& config, const Target& target) {
  if (config != "default") return config;
  return cache_dir() + "/timing/" + target.arch() + ".jsonl";
}

}  // namespace tuyere
