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

/// A parameter in the caller's memory: row-major, of the engine's dtype and shape. An engine that can read it there (on its device, 64-byte aligned)
/// does so and holds `keep`; otherwise, and when `keep` is null, it takes a copy.
struct SharedWeight {
  std::string name;
  TensorRef value;
  std::shared_ptr<const void> keep;
};

struct EngineOptions {
  int device = 0;
  bool cuda_graphs = true;
  std::string weights_file;                // of an engine whose weights have a file of their own; "": beside the engine file (weights_path)
  std::span<const SharedWeight> shared{};  // values of parameters that are not in the file; names the engine does not have are ignored
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
  /// The same for parameters that stay the caller's. A parameter that is used in place is taken as changed even at the same address.
  Status share(std::span<const SharedWeight> weights, void* stream = nullptr);
  std::vector<std::string> refittable() const;
  /// Writes the engine (with its current weights) as a file. weights: "engine": in that file; "separate": in a second one, weights_path(path), to be
  /// mapped at load; "shared": nowhere, whoever loads it passes the parameters. "": as it was built, "separate" where that is "shared".
  Status save(const std::string& path, const std::string& weights = "") const;
  /// The second file of save(.., "separate") alone.
  Status save_weights(const std::string& path) const;
  /// Bytes of the constants that the program uses.
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
