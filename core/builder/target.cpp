// SPDX-License-Identifier: Apache-2.0
// Targets by name. A device that is present is asked for its properties; the tensor-core rate, which drivers do not tell, and everything of an
// absent device are those of the usual product of its architecture.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "common/error.h"
#include "core/builder/builder.h"
#include "kernels/run/device_api.h"
#include "kernels/run/executors.h"

namespace tuyere {
namespace {

struct Architecture {
  int sm;
  const char *arch, *device;
  int multiprocessors;
  int64_t l2_bytes;
  double copy_gbps, tensor_tflops;
};
constexpr int64_t kMiB = int64_t{1} << 20;
constexpr double kReachedBandwidth = 0.9;  // of the peak, by a copy
constexpr Architecture kArchitectures[] = {
    {80, "sm_80", "NVIDIA A100", 108, 40 * kMiB, 1555, 312},
    {90, "sm_90a", "NVIDIA H100", 132, 50 * kMiB, 3000, 800},
    {100, "sm_100a", "NVIDIA B200", 148, 126 * kMiB, 7000, 2000},
};

Target typical(const Architecture& a) {
  Target target;
  target.kind = Target::Kind::Cuda;
  target.sm = a.sm;
  target.multiprocessors = a.multiprocessors;
  target.device_name = a.device;
  target.l2_bytes = a.l2_bytes;
  target.copy_gbps = a.copy_gbps;
  target.tensor_tflops = a.tensor_tflops;
  target.present = false;
  return target;
}

const Architecture* newest_up_to(int sm) {
  const Architecture* found = nullptr;
  for (const Architecture& a : kArchitectures) {
    if (a.sm <= sm && a.sm / 10 == sm / 10) found = &a;
  }
  return found;
}

Result<Target> query(int device) {
  TRY_ASSIGN(DeviceApi * api, cuda_device());
  TRY_ASSIGN(DeviceInfo info, api->info(device));
  int sm = info.major * 10 + info.minor;
  const Architecture* a = newest_up_to(sm);
  if (!a)
    return Status(Code::Unsupported,
                  info.name + " has compute capability " + std::to_string(info.major) + "." + std::to_string(info.minor) + "; supported are 8.x, 9.x and 10.x");
  Target target = typical(*a);
  target.device_name = info.name;
  target.copy_gbps *= static_cast<double>(info.multiprocessors) / target.multiprocessors;
  if (info.memory_gbps > 0) target.copy_gbps = kReachedBandwidth * info.memory_gbps;
  if (info.l2_bytes > 0) target.l2_bytes = info.l2_bytes;
  target.tensor_tflops *= static_cast<double>(info.multiprocessors) / target.multiprocessors;
  target.multiprocessors = info.multiprocessors;
  target.device = device;
  target.present = true;
  return target;
}

/// The architecture's typical device, or the first present one of that architecture.
Target architecture(const Architecture& a) {
  Result<DeviceApi*> api = cuda_device();
  int count = api.is_ok() ? (*api)->count() : 0;
  for (int device = 0; device < count; ++device) {
    Result<Target> target = query(device);
    if (target.is_ok() && target->sm == a.sm) return *target;
  }
  return typical(a);
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    size_t colon = line.find(": ");
    if (line.rfind("model name", 0) == 0 && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "cpu";
}

int64_t cpu_l2_bytes() {
#ifdef _SC_LEVEL2_CACHE_SIZE
  long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (bytes > 0) return bytes;
#endif
  return kMiB;
}

Target cpu() {
  Target target;
  const int threads = cpu_threads();  // what is fastest in one thread need not be in two
  target.multiprocessors = threads > 0 ? threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  target.device_name = cpu_name();
  target.l2_bytes = cpu_l2_bytes();
  target.copy_gbps = std::min(200.0, 12.0 * target.multiprocessors);  // 12 GB/s a core until the memory channels are full
  target.tensor_tflops = 0.1 * target.multiprocessors;                // two 512-bit FMA units at 3 GHz
  return target;
}

}  // namespace

int64_t cpu_channel_block() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512f")) return 16;
  if (__builtin_cpu_supports("avx2")) return 8;
#endif
  return 0;
}

Target find_target(const std::string& text) {
  if (text == "cpu") return cpu();
  for (const Architecture& a : kArchitectures) {
    if (text == a.arch || text == "sm_" + std::to_string(a.sm)) return architecture(a);
  }
  bool numbered = text.rfind("cuda:", 0) == 0 && text.size() > 5 && text.size() < 9 &&
                  std::all_of(text.begin() + 5, text.end(), [](char c) { return c >= '0' && c <= '9'; });
  USER_CHECK(text == "cuda" || numbered, "unknown target '" << text << "': cpu, cuda, cuda:<number>, sm_80, sm_90a or sm_100a");
  Result<Target> target = query(numbered ? std::atoi(text.c_str() + 5) : 0);
  USER_CHECK(target.is_ok(), "target '" << text << "': " << target.status().message());
  return *target;
}

}  // namespace tuyere
