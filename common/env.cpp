// SPDX-License-Identifier: Apache-2.0
#include "common/env.h"

#include <cstdlib>
#include <string_view>

#include "common/error.h"

namespace tuyere {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

bool listed(std::string_view name) {
  for (const EnvVar& v : kEnvVars)
    if (name == v.name) return true;
  return false;
}

}  // namespace

std::string env(const char* name) {
  INTERNAL_CHECK(listed(name), "environment variable " << name << " is not in the table of common/env.h");
  return variable(name);
}

std::string cache_dir() {
  if (std::string dir = env("TUYERE_CACHE_DIR"); !dir.empty()) return dir;
  if (std::string base = variable("XDG_CACHE_HOME"); !base.empty()) return base + "/tuyere";
  if (std::string home = variable("HOME"); !home.empty()) return home + "/.cache/tuyere";
  return "/tmp/tuyere_cache";
}

}  // namespace tuyere
