// SPDX-License-Identifier: Apache-2.0
// Every environment variable that tuyere reads. This table is the documentation: `tuyere env` prints it.
#pragma once
#include <string>
#include <vector>

namespace tuyere {

struct EnvVar {
  const char* name;
  const char* meaning;
};

inline constexpr EnvVar kEnvVars[] = {
    {"TUYERE_LOG", "log level and filters, e.g. 1 or \"3,fuse_*\" or \"1;4,tactics.cpp\": ';' separates rules, later rules win; default 1 (warnings)"},
    {"TUYERE_DUMP", "comma-separated topics written as numbered text files: source,partition,network,passes,tactics,memory,plan,kernels"},
    {"TUYERE_DUMP_DIR", "folder of the dumps, default ./tuyere_dump"},
    {"TUYERE_CACHE_DIR", "folder of the timing, kernel and engine caches, default $XDG_CACHE_HOME/tuyere or ~/.cache/tuyere"},
    {"TUYERE_LIBRARY_PATH", "':'-separated folders searched first for libdnnl, libcudnn, libcublasLt, libnvrtc"},
};

/// Value of an environment variable of the table above, or "" (INTERNAL_CHECKs that it is listed).
std::string env(const char* name);
/// The folder of the caches (TUYERE_CACHE_DIR); not created.
std::string cache_dir();

}  // namespace tuyere
