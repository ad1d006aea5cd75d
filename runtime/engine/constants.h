// SPDX-License-Identifier: Apache-2.0
// The constants of an engine at one version of its weights: immutable, shared by the contexts that were prepared with it.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/run/device_api.h"
#include "runtime/engine/memory.h"
#include "runtime/plan/plan.h"

namespace tuyere {

/// Packs by key. A pack that an earlier version of the weights has already made under the same key is taken over.
class PackStore final : public ConstantStore {
 public:
  explicit PackStore(std::weak_ptr<PackStore> earlier = {}) : earlier_(std::move(earlier)) {}
  std::shared_ptr<void> packed(const std::string& key, const std::function<std::shared_ptr<void>()>& make) override;

 private:
  struct Entry {
    std::mutex mutex;
    std::shared_ptr<void> value;
  };
  std::shared_ptr<Entry> entry(const std::string& key);
  std::shared_ptr<void> lookup(const std::string& key);

  std::weak_ptr<PackStore> earlier_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Entry>> entries_;
};

struct ConstantSet {
  uint64_t version = 1;
  PlanConstants host;                          // data stays in the file until a refit replaces it
  std::map<std::string, uint64_t> changed_in;  // version in which a constant last changed; 1 when missing
  struct OnDevice {
    const void* data = nullptr;
    std::shared_ptr<const void> keep;
  };
  std::map<std::string, OnDevice> device;  // GPU plans; shared parameters have no data in `host`
  std::shared_ptr<PackStore> packs;

  /// Whether its value is nowhere.
  bool is_missing(const std::string& name) const { return host.at(name).is_elsewhere() && !device.count(name); }
  uint64_t version_of(const std::string& name) const;
  /// Where the program finds it: in device memory for GPU plans.
  const void* address(const std::string& name, bool on_device) const;
};

/// Uploads the constants of the program that neither are on the device nor in `previous` at the same version, in one allocation. device < 0: nothing
/// to do.
Status upload(ConstantSet& set, const ConstantSet* previous, const Plan& plan, int device, DeviceApi* api);

/// Names and bytes of the constants that the program uses, in all its bodies.
std::map<std::string, int64_t> program_constants(const Plan& plan);

}  // namespace tuyere
