// SPDX-License-Identifier: Apache-2.0
// Loaded engines by id, shared by the torch op and the Python bindings. An engine travels as a byte tensor: a 64-byte header
// (magic, 16-byte id) and the engine file. The id finds the loaded engine; an address never does.
#pragma once
#include <array>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "runtime/engine/engine.h"

namespace tuyere {

inline constexpr int64_t kCarrierHeader = 64;
using EngineId = std::array<unsigned char, 16>;

/// The 64 bytes that precede the engine file in a carrier tensor.
std::array<std::byte, kCarrierHeader> carrier_header(const EngineId& id);
/// The id of a carrier; InvalidArgument when `bytes` is none.
Result<EngineId> carrier_id(std::span<const std::byte> bytes);

/// A loaded engine and its idle contexts. One call takes one context; so concurrent calls run in parallel.
class EngineHandle {
 public:
  explicit EngineHandle(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {}
  Engine& engine() const { return *engine_; }
  /// An idle context, or a new one.
  Result<std::unique_ptr<Context>> take();
  void give_back(std::unique_ptr<Context> context);

 private:
  std::shared_ptr<Engine> engine_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Context>> idle_;
};

/// The engine of a carrier: loaded at first use and kept. `keep` owns `bytes`; it is only copied when the engine is loaded now.
Result<std::shared_ptr<EngineHandle>> find_engine(std::span<const std::byte> carrier, const std::shared_ptr<const void>& keep,
                                                  const EngineOptions& options = {});
/// The engine with this id when it is loaded, else nullptr.
std::shared_ptr<EngineHandle> loaded_engine(const EngineId& id);
/// Forgets an engine; contexts in use finish. Returns whether it was loaded.
bool unload_engine(const EngineId& id);

/// One call on PyTorch's tensors without its dispatcher: `inputs` are AtenTensorHandles, which the callee takes over; returns the outputs' handles, which
/// the caller takes over. Throws std::exception. Installed by the torch op's library, nullptr without it.
using TensorCall = std::vector<void*> (*)(EngineHandle& engine, std::span<void* const> inputs);
void set_tensor_call(TensorCall call);
TensorCall tensor_call();

/// Fills `count` booleans as torch.bernoulli(probability) does with PyTorch's CPU generator, which goes on from there. false: nothing was done. Installed by
/// the Python bindings, nullptr without them.
using BernoulliDraw = bool (*)(unsigned char* out, int64_t count, double probability) noexcept;
void set_bernoulli_draw(BernoulliDraw draw);
BernoulliDraw bernoulli_draw();

}  // namespace tuyere
