// SPDX-License-Identifier: Apache-2.0
// Engine: an immutable loaded plan, shared. Context: one per concurrent caller.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"
#include "kernels/run/executors.h"
#include "kernels/run/host_table.h"
#include "runtime/plan/plan.h"

namespace tuyere {

/// Addresses of inputs and outputs of a CUDA plan are multiples of this (host addresses: of the element size).
inline constexpr int64_t kIoAlignment = 16;

struct EngineOptions {
  int device = 0;
  bool cuda_graphs = true;
};

class Context;

class Engine : public std::enable_shared_from_this<Engine> {
 public:
  /// `keep` owns `bytes` for as long as the engine lives (no copy is made).
  static Result<std::shared_ptr<Engine>> load(std::span<const std::byte> bytes, std::shared_ptr<const void> keep, const EngineOptions& options = {});
  static Result<std::shared_ptr<Engine>> load(const std::string& path, const EngineOptions& options = {});
  ~Engine();

  const Plan& plan() const;
  const PlanBody& body() const { return plan().bodies[0]; }
  int device() const;  // -1 for a CPU plan
  Result<std::unique_ptr<Context>> create_context();
  /// New values for parameters, by name (row-major, same dtype and shape; host or device memory). Runs the weight program and swaps the constants;
  /// calls that start afterwards use them. Unknown names, wrong types: InvalidArgument.
  Status refit(std::span<const std::string> names, std::span<const TensorRef> values, void* stream = nullptr);
  std::vector<std::string> refittable() const;
  /// Writes the engine (with its current weights) as a file.
  Status save(const std::string& path) const;
  /// Bytes of constants on the device.
  int64_t weight_bytes() const;

  struct Impl;
  Impl& impl() const { return *impl_; }

 private:
  Engine();
  std::unique_ptr<Impl> impl_;
};

struct StepTime {
  int step;
  double micros;
};

class Context {
 public:
  virtual ~Context() = default;
  /// Everything slow for inputs of these shapes: symbols, memory packing, step preparation. Cached, least recently used shapes go first. Addresses are
  /// not looked at; graphs are captured by execute, which sees them.
  virtual Status prepare(std::span<const TensorRef> inputs) = 0;
  /// Output shapes and dtypes for the inputs (prepares when needed): the caller allocates.
  virtual Result<std::span<const TensorView>> outputs(std::span<const TensorRef> inputs) = 0;
  /// Runs. InvalidArgument names the input and what is wrong with it. No allocation, lock or throw once prepared.
  virtual Status execute(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs, void* stream = nullptr) = 0;
  /// As execute, timing every step (CUDA events, or a clock); no CUDA graph.
  virtual Result<std::vector<StepTime>> profile(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs, void* stream = nullptr) = 0;
  /// Copies of observed tensors of the last execute, by name.
  virtual Result<std::vector<std::pair<std::string, std::vector<std::byte>>>> observed() = 0;
  virtual int64_t arena_bytes() const = 0;
  /// "graph", "graph+copies", "steps": how the last call ran and why.
  virtual std::string mode() const = 0;
};

}  // namespace tuyere
