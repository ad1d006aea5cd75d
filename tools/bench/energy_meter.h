// SPDX-License-Identifier: Apache-2.0
// The energy that NVML counts for a GPU. The driver's libraries are opened where they are: nothing of CUDA is linked.
#pragma once
#include <dlfcn.h>

#include <cstdio>
#include <optional>
#include <string>

namespace tuyere::bench {

class EnergyMeter {
 public:
  /// device: CUDA ordinal. Where NVML does not tell, joules() says nothing.
  explicit EnergyMeter(int device) {
    const std::string uuid = uuid_of(device);
    void* nvml = uuid.empty() ? nullptr : dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (!nvml) return;
    const auto init = function<int (*)()>(nvml, "nvmlInit_v2");
    const auto by_uuid = function<int (*)(const char*, void**)>(nvml, "nvmlDeviceGetHandleByUUID");
    if (init && by_uuid && init() == 0 && by_uuid(uuid.c_str(), &gpu_) == 0) energy_ = function<Energy>(nvml, "nvmlDeviceGetTotalEnergyConsumption");
  }

  /// Since the driver was loaded.
  std::optional<double> joules() const {
    unsigned long long millijoules = 0;
    if (!energy_ || energy_(gpu_, &millijoules) != 0) return std::nullopt;
    return static_cast<double>(millijoules) / 1e3;
  }

 private:
  using Energy = int (*)(void*, unsigned long long*);

  template <class F>
  static F function(void* library, const char* name) {
    return reinterpret_cast<F>(dlsym(library, name));
  }

  /// "GPU-01234567-89ab-...", or "": no driver. CUDA's ordinals need not be NVML's.
  static std::string uuid_of(int device) {
    void* cuda = dlopen("libcuda.so.1", RTLD_NOW);
    if (!cuda) return "";
    const auto init = function<int (*)(unsigned)>(cuda, "cuInit");
    const auto get = function<int (*)(int*, int)>(cuda, "cuDeviceGet");
    const auto uuid = function<int (*)(unsigned char*, int)>(cuda, "cuDeviceGetUuid_v2");
    int handle = 0;
    unsigned char bytes[16];
    if (!init || !get || !uuid || init(0) != 0 || get(&handle, device) != 0 || uuid(bytes, handle) != 0) return "";
    std::string text = "GPU-";
    for (int i = 0; i < 16; ++i) {
      char digits[3];
      std::snprintf(digits, sizeof digits, "%02x", bytes[i]);
      text += (i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "") + std::string(digits);
    }
    return text;
  }

  void* gpu_ = nullptr;
  Energy energy_ = nullptr;
};

}  // namespace tuyere::bench
