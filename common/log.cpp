// SPDX-License-Identifier: Apache-2.0
#include "common/log.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "common/env.h"
#include "common/log_rules.h"

namespace tuyere {
namespace {

constexpr int kDefaultLevel = static_cast<int>(LogLevel::Warning);

std::string_view file_name(std::string_view path) {
  size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

const LogRules& rules() {
  static const LogRules rules(env("TUYERE_LOG"));
  return rules;
}

struct Sink {
  std::mutex mutex;
  LogSink call = nullptr;
  void* user = nullptr;
};

Sink& sink() {
  static Sink* sink = new Sink;  // never destroyed: lines may come from static destructors
  return *sink;
}

std::string printable(std::string_view name) {
  std::string text(name);
  for (char& c : text)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '.') c = '_';
  return text;
}

}  // namespace

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    size_t at = text.find(separator);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

bool glob_match(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p, ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

LogRules::LogRules(std::string_view text) : rules_{{kDefaultLevel, "*"}} {
  for (const std::string& part : split(text, ';')) {
    if (part.empty()) continue;
    size_t comma = part.find(',');
    char* end = nullptr;
    long level = std::strtol(part.c_str(), &end, 10);
    if (end == part.c_str()) continue;
    rules_.push_back({static_cast<int>(level), comma == std::string::npos ? "*" : part.substr(comma + 1)});
  }
  for (const Rule& rule : rules_) highest_ = std::max(highest_, rule.level);
}

int LogRules::level(std::string_view file) const {
  std::string_view name = file_name(file), stem = name.substr(0, name.rfind('.'));
  for (auto rule = rules_.rbegin(); rule != rules_.rend(); ++rule)
    if (glob_match(rule->pattern, name) || glob_match(rule->pattern, stem)) return rule->level;
  return kDefaultLevel;
}

void set_log_sink(LogSink call, void* user) {
  std::lock_guard lock(sink().mutex);
  sink().call = call;
  sink().user = user;
}

bool log_enabled(LogLevel level, const char* file) {
  int wanted = static_cast<int>(level);
  return wanted <= rules().highest() && wanted <= rules().level(file);
}

void log_line(LogLevel level, const char* file, int line, const std::string& text) {
  static constexpr const char* kNames[] = {"error", "warning", "info", "debug", "trace"};
  std::string out = std::string("tuyere ") + kNames[static_cast<int>(level)] + " [" + std::string(file_name(file)) + ":" + std::to_string(line) + "] " + text;
  std::lock_guard lock(sink().mutex);
  if (sink().call)
    sink().call(level, out.c_str(), sink().user);
  else
    std::fprintf(stderr, "%s\n", out.c_str());
}

bool dump_enabled(std::string_view topic) {
  static const std::vector<std::string> topics = split(env("TUYERE_DUMP"), ',');
  return std::find(topics.begin(), topics.end(), topic) != topics.end();
}

void dump(std::string_view topic, std::string_view name, const std::string& text) {
  if (!dump_enabled(topic)) return;
  static std::atomic<int> counter{0};
  std::string folder = env("TUYERE_DUMP_DIR");
  if (folder.empty()) folder = "tuyere_dump";
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  char number[16];
  std::snprintf(number, sizeof number, "%03d", counter++);
  std::string path = folder + "/" + number + "_" + printable(topic) + "_" + printable(name) + ".txt";
  std::ofstream file(path);
  file << text;
  if (!file) TUYERE_LOG(Warning, "cannot write the dump " << path);
}

}  // namespace tuyere
