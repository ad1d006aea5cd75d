// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine/registry.h"

#include <atomic>
#include <cstring>
#include <map>
#include <shared_mutex>

namespace tuyere {
namespace {

constexpr char kMagic[16] = "tuyere-engine-1";

struct Registry {
  std::shared_mutex mutex;
  std::map<EngineId, std::shared_ptr<EngineHandle>> engines;
};

Registry& registry() {
  static Registry* instance = new Registry;  // never destroyed: calls may come from other static destructors
  return *instance;
}

std::atomic<TensorCall> installed_call{nullptr};
std::atomic<BernoulliDraw> installed_draw{nullptr};

}  // namespace

std::array<std::byte, kCarrierHeader> carrier_header(const EngineId& id) {
  std::array<std::byte, kCarrierHeader> header{};
  std::memcpy(header.data(), kMagic, sizeof kMagic);
  std::memcpy(header.data() + sizeof kMagic, id.data(), id.size());
  return header;
}

Result<EngineId> carrier_id(std::span<const std::byte> bytes) {
  if (bytes.size() < kCarrierHeader || std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0) {
    return Status(Code::InvalidArgument, "the engine argument is no tuyere engine: pass the uint8 tensor that tuyere.compile made, unchanged");
  }
  EngineId id;
  std::memcpy(id.data(), bytes.data() + sizeof kMagic, id.size());
  return id;
}

Result<std::unique_ptr<Context>> EngineHandle::take() {
  {
    std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<Context> context = std::move(idle_.back());
      idle_.pop_back();
      return context;
    }
  }
  return engine_->create_context();
}

void EngineHandle::give_back(std::unique_ptr<Context> context) {
  std::lock_guard lock(mutex_);
  idle_.push_back(std::move(context));
}

Result<std::shared_ptr<EngineHandle>> find_engine(std::span<const std::byte> carrier, const std::shared_ptr<const void>& keep, const EngineOptions& options) {
  TRY_ASSIGN(EngineId id, carrier_id(carrier));
  if (std::shared_ptr<EngineHandle> handle = loaded_engine(id)) return handle;
  std::unique_lock lock(registry().mutex);
  std::shared_ptr<EngineHandle>& slot = registry().engines[id];
  if (!slot) {
    auto engine = Engine::load(carrier.subspan(kCarrierHeader), keep, options);
    if (!engine.is_ok()) {
      registry().engines.erase(id);
      return engine.status();
    }
    slot = std::make_shared<EngineHandle>(std::move(*engine));
  }
  return slot;
}

std::shared_ptr<EngineHandle> loaded_engine(const EngineId& id) {
  std::shared_lock lock(registry().mutex);
  auto it = registry().engines.find(id);
  return it == registry().engines.end() ? nullptr : it->second;
}

bool unload_engine(const EngineId& id) {
  std::unique_lock lock(registry().mutex);
  return registry().engines.erase(id) > 0;
}

void set_tensor_call(TensorCall call) { installed_call.store(call, std::memory_order_release); }

TensorCall tensor_call() { return installed_call.load(std::memory_order_acquire); }

void set_bernoulli_draw(BernoulliDraw draw) { installed_draw.store(draw, std::memory_order_release); }

BernoulliDraw bernoulli_draw() { return installed_draw.load(std::memory_order_acquire); }

}  // namespace tuyere
