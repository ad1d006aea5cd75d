// SPDX-License-Identifier: Apache-2.0
// The rules of TUYERE_LOG, apart from the process-wide state so that they can be tested.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace tuyere {

/// "1;4,tactics.cpp;3,fuse_*": ';' separates rules, a rule is a level and optionally a pattern of file names. Later rules win.
/// A pattern is matched against the file's name with and without its extension; '*' stands for any characters.
class LogRules {
 public:
  explicit LogRules(std::string_view text);
  /// The level wanted from `file` (a path).
  int level(std::string_view file) const;
  /// No file is more talkative than this.
  int highest() const { return highest_; }

 private:
  struct Rule {
    int level;
    std::string pattern;
  };
  std::vector<Rule> rules_;
  int highest_ = 0;
};

bool glob_match(std::string_view pattern, std::string_view text);
std::vector<std::string> split(std::string_view text, char separator);

}  // namespace tuyere
