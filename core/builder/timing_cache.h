// SPDX-License-Identifier: Apache-2.0
// What was measured before, as a readable file that can be merged and sorted line by line:
//   {"tuyere":"timing cache","version":1}
//   {"device":"NVIDIA H200, 132 SMs","key":"conv ... -> ...","timed":[{"tactic":"own.conv.igemm","config":"tile=128x128x32","us":12.31}, ...]}
// Lines are sorted by device and key, candidates by tactic and configuration. One file may hold several devices.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/api/problem.h"

namespace tuyere {

struct TimedCandidate {
  std::string tactic, config;
  double micros = 0;
};

class TimingCache {
 public:
  /// Entries of `device` are read and written; those of other devices are kept.
  explicit TimingCache(std::string device) : device_(std::move(device)) {}

  std::optional<double> find(const std::string& key, const std::string& tactic, const std::string& config) const;
  std::vector<TimedCandidate> find(const std::string& key) const;
  /// Replaces the candidate of the same tactic and configuration. Times are kept to the nanosecond, as in the file.
  void add(const std::string& key, TimedCandidate candidate);
  int size() const;

  /// Adds the lines of `text`; entries that are here already win. Error{User} on a line that is no entry or on a newer version.
  void merge(const std::string& text);
  std::string str() const;

  /// Merges the file when it exists.
  void load(const std::string& path);
  /// Merges what the file holds now and replaces it in one step, so that concurrent builds lose nothing but each other's last lines.
  void save(const std::string& path);

 private:
  using Candidates = std::map<std::pair<std::string, std::string>, double>;  // (tactic, config) -> micros
  std::string device_;
  std::map<std::pair<std::string, std::string>, Candidates> entries_;  // (device, key)
  bool changed_ = false;
};

/// The device part of an entry: its name, multiprocessors, and the versions of the libraries that matter to it.
std::string device_key(const Target& target);
/// `config` resolved: "default" becomes a file in the cache folder, "" stays empty.
std::string timing_cache_path(const std::string& config, const Target& target);

}  // namespace tuyere
