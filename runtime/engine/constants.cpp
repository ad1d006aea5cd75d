// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine/constants.h"

namespace tuyere {
std::shared_ptr<PackStore::Entry> PackStore::entry(const std::string& key) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Entry>& found = entries_[key];
  if (!found) found = std::make_shared<Entry>();
  return found;
}

std::shared_ptr<void> PackStore::lookup(const std::string& key) {
  std::shared_ptr<Entry> found;
  {
    const std::lock_guard lock(mutex_);
    auto place = entries_.find(key);
    if (place == entries_.end()) return nullptr;
    found = place->second;
  }
  const std::lock_guard lock(found->mutex);
  return found->value;
}

std::shared_ptr<void> PackStore::packed(const std::string& key, const std::function<std::shared_ptr<void>()>& make) {
  const std::shared_ptr<Entry> place = entry(key);
  const std::lock_guard lock(place->mutex);
  if (!place->value)
    if (auto earlier = earlier_.lock()) place->value = earlier->lookup(key);
  if (!place->value) place->value = make();
  return place->value;
}

uint64_t ConstantSet::version_of(const std::string& name) const {
  auto found = changed_in.find(name);
  return found == changed_in.end() ? 1 : found->second;
}

const void* ConstantSet::address(const std::string& name, bool on_device) const { return on_device ? device.at(name).data : host.at(name).data; }

std::map<std::string, int64_t> program_constants(const Plan& plan) {
  std::map<std::string, int64_t> used;
  for (size_t i = 0; i < plan.bodies.size(); ++i) {
    if (static_cast<int>(i) == plan.weight_body) continue;
    for (const PlanBuffer& buffer : plan.bodies[i].buffers) {
      if (buffer.kind != BufferKind::constant) continue;
      int64_t& bytes = used[buffer.constant];
      bytes = std::max(bytes, buffer.bytes.value());
    }
  }
  return used;
}

Status upload(ConstantSet& set, const ConstantSet* previous, const Plan& plan, int device, DeviceApi* api) {
  if (device < 0) return Status::ok();
  std::map<std::string, int64_t> missing;
  int64_t total = 0;
  for (const auto& [name, bytes] : program_constants(plan)) {
    if (set.device.count(name)) continue;
    if (previous && previous->version_of(name) == set.version_of(name)) {
      set.device[name] = previous->device.at(name);
      continue;
    }
    missing[name] = bytes;
    total += align_memory(bytes);
  }
  TRY_ASSIGN(Memory allocated, Memory::allocate(total, device, api));
  const auto memory = std::make_shared<Memory>(std::move(allocated));
  int64_t offset = 0;
  for (const auto& [name, bytes] : missing) {
    std::byte* place = memory->data() + offset;
    if (bytes) TRY(api->copy_now(device, place, set.host.at(name).data, bytes));
    set.device[name] = {place, memory};
    offset += align_memory(bytes);
  }
  return Status::ok();
}

}  // namespace tuyere
