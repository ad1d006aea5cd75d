// SPDX-License-Identifier: Apache-2.0
// What was measured before, as a readable file that can be merged and sorted line by line:
//   {"tuyere":"timing cache","version":2}
//   {"device":"NVIDIA H200, sm_90a, 132 SMs","libraries":"cuDNN 91900, tuyere 0.1.0","key":"conv ... -> ...",
//    "timed":[{"tactic":"own.conv.igemm","config":"tile=128x128x32","us":12.31}, ...]}
// Lines are sorted by device, libraries and key, candidates by tactic and configuration. One file may hold several devices. What was measured with
// other versions of the libraries is kept and not used. (Version 1 did not know its libraries: its lines are dropped.)
#pragma once
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/api/problem.h"

namespace tuyere {

struct TimedCandidate {
  std::string tactic, config;
  double micros = 0;
};

class TimingCache {
 public:
  /// Entries of `device` with these versions of the libraries are read and written; others are kept. libraries "": a device that is not here, whose
  /// libraries nobody knows; then those of its entries that come last in the file count.
  explicit TimingCache(std::string device, std::string libraries = "") : device_(std::move(device)), libraries_(std::move(libraries)) {}

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
  using EntryKey = std::tuple<std::string, std::string, std::string>;        // (device, libraries, key)
  EntryKey entry_key(const std::string& key) const;
  std::string device_, libraries_;
  std::map<EntryKey, Candidates> entries_;
  bool changed_ = false;
};

/// The device part of an entry: its name, architecture and multiprocessors.
std::string device_key(const Target& target);
/// `config` resolved: "default" becomes a file in the cache folder, "" stays empty.
std::string timing_cache_path(const std::string& config, const Target& target);

}  // namespace tuyere
