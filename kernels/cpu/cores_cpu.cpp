// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/cores.h"

#include <algorithm>
#include <fstream>

namespace tuyere::cpu {
namespace {

std::string read(const char* path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

/// Of the group that a container sees as its root: version 2, or 1.
int quota() {
  const std::string joined = read("/sys/fs/cgroup/cpu.max");
  if (!joined.empty()) return cores_of_quota(joined);
  return cores_of_quota(read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") + " " + read("/sys/fs/cgroup/cpu/cpu.cfs_period_us"));
}

}  // namespace

int usable_cores() {
  static const int cores = [] {
    const int bought = quota(), present = std::max(1, omp_get_num_procs());
    return bought > 0 ? std::min(bought, present) : present;
  }();
  return cores;
}

}  // namespace tuyere::cpu
