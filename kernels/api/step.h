// SPDX-License-Identifier: Apache-2.0
// A step: a tactic's launch in a plan. The builder makes a StepSpec, the plan stores it, the runtime prepares it for concrete shapes and runs it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/dim.h"
#include "common/dtype.h"
#include "common/status.h"

namespace tuyere {

using Bytes = std::shared_ptr<const std::vector<std::byte>>;

/// What the plan keeps of a step. `executor` picks the runtime's code:
///   "cuda"      own kernels: attrs is a CudaStep (kernels/api/cuda_step.h), blobs are cubins
///   "cublaslt"  attrs: problem + algorithm · "cudnn" attrs: problem + configuration, blobs: the serialized plan
///   "cpu"       attrs: {"kernel": "onednn.conv", "op": <op text>, "config": ...}; code in libtuyere_kernels_cpu.so
///   "host"      a PyTorch op through the host-call table · "copy" a strided copy of input 0 to output 0 (any executor may be asked for it)
struct StepSpec {
  std::string executor;
  std::string attrs;         // JSON object
  std::vector<Bytes> blobs;  // referenced by attrs by position
  Dim workspace;             // bytes, 256-aligned; one more pointer after inputs and outputs
};

/// A tensor of concrete size.
struct TensorView {
  DType dtype = DType::F32;
  std::vector<int64_t> shape, strides;  // strides in elements
  int64_t numel() const;
};

/// Where constants come from while a step is prepared: a pack is made once per engine and shared by its contexts.
class ConstantStore {
 public:
  virtual ~ConstantStore() = default;
  /// The packed form of constant `key`; `make` is called once per engine and version of the weights.
  virtual std::shared_ptr<void> packed(const std::string& key, const std::function<std::shared_ptr<void>()>& make) = 0;
};

struct PrepareArgs {
  std::vector<TensorView> in, out;
  std::vector<const void*> constants;      // per input: address of its data when it is a weight that stays put, else nullptr
  std::vector<std::string> constant_keys;  // per input: unique name of that weight within the engine and of its version, or ""
  const Symbols* symbols = nullptr;
  ConstantStore* store = nullptr;
  int device = 0;

  const Symbols& known_symbols() const;  // none when `symbols` is null
};

/// A prepared step. run() must not allocate, lock, throw or synchronize. pointers: inputs, outputs, then the workspace when the spec has one.
class Executable {
 public:
  virtual ~Executable() = default;
  virtual Status run(void* const* pointers, void* stream) noexcept = 0;
  /// Kernels that run() launches; -1: not known, or the host has to work for them.
  virtual int launches() const noexcept { return -1; }
};

/// A step with nothing to do, e.g. for empty tensors.
class EmptyExecutable final : public Executable {
 public:
  Status run(void* const*, void*) noexcept override { return Status::ok(); }
  int launches() const noexcept override { return 0; }
};

/// Prepares steps of one executor. Engines look executors up by StepSpec::executor.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual Result<std::unique_ptr<Executable>> prepare(const StepSpec& spec, const PrepareArgs& args) = 0;
  /// Workspace bytes for these shapes; by default the spec's expression evaluated.
  virtual Result<int64_t> workspace(const StepSpec& spec, const PrepareArgs& args);
};

}  // namespace tuyere
