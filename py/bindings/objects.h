// SPDX-License-Identifier: Apache-2.0
// What several files bind.
#pragma once
#include <memory>
#include <utility>

#include "py/bindings/bindings.h"
#include "runtime/engine/registry.h"

namespace tuyere::python {

/// An engine and the registry entry that shares its contexts with the torch op.
class PyEngine {
 public:
  explicit PyEngine(std::shared_ptr<EngineHandle> handle) : handle_(std::move(handle)) {}
  EngineHandle& handle() const { return *handle_; }
  Engine& engine() const { return handle_->engine(); }

 private:
  std::shared_ptr<EngineHandle> handle_;
};

/// The weights of an engine, where a caller finds them at each call.
class WeightWatch {
 public:
  virtual ~WeightWatch() = default;
  /// Whether they are what was last accepted. arguments: of this call.
  virtual bool unchanged(const py::list& arguments) const = 0;
  /// The same for weights in their own order. seen: that they are the very objects last accepted, so that only their contents may differ; set when they are.
  virtual bool unchanged(PyObject* const* weights, bool& seen) const = 0;
  /// Starts to bring what the next look reads into the caches.
  virtual void fetch() const = 0;
  /// How often others were accepted.
  virtual uint64_t accepted() const = 0;
};

}  // namespace tuyere::python
