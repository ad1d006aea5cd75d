// SPDX-License-Identifier: Apache-2.0
// A body prepared for concrete input shapes: sizes, executables, and a pointer table in which only the callers' addresses change.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "runtime/engine/arena_plan.h"
#include "runtime/engine/bind.h"
#include "runtime/engine/constants.h"
#include "runtime/plan/sizes.h"

namespace tuyere {

class Prepared {
 public:
  struct Step {
    std::unique_ptr<Executable> code;
    size_t first_pointer = 0;
    bool capturable = false;  // into a CUDA graph
  };

  /// api: of GPU bodies.
  static Result<std::unique_ptr<Prepared>> make(const Plan& plan, int body, int device, DeviceApi* api, std::shared_ptr<const ConstantSet> constants,
                                                std::span<const TensorRef> inputs);
  /// Moves to another version of the constants; steps whose constants are the same, and all steps of GPU plans, keep their code.
  Status use_constants(std::shared_ptr<const ConstantSet> constants);
  /// Writes arena addresses into the pointer table.
  void use_arena(std::byte* base, uint64_t generation);
  /// Writes callers' addresses into the pointer table. No allocation. (Outputs that alias inputs have no address of their own.)
  void use_io(void* const* inputs, void* const* outputs) noexcept;
  /// The address of a buffer as last bound.
  std::byte* address(int buffer) const;

  const Plan& plan;
  const PlanBody& body;
  const int device;
  std::vector<IoSlot> inputs, outputs;
  std::vector<TensorView> output_views;
  BodySizes sizes;
  ArenaPlan arena;
  std::vector<Step> steps;
  std::vector<void*> pointers;
  std::shared_ptr<const ConstantSet> constants;
  uint64_t arena_generation = 0;

 private:
  struct Patch {
    size_t slot;
    int index;  // input, output or buffer number
    int64_t offset;
  };

  Prepared(const Plan& plan, int body, int device, DeviceApi* api) : plan(plan), body(plan.bodies[body]), device(device), api_(api) {}
  PrepareArgs step_args(const PlanStep& step) const;
  Status prepare_step(size_t index);
  Status prepare_control_step(size_t index);
  bool same_constants(const PlanStep& step, const ConstantSet& other) const;
  void add_pointers();
  void add_pointer(int tensor);
  void use_constant_addresses();

  DeviceApi* const api_;
  Symbols symbols_;
  std::vector<void*> bound_inputs_, bound_outputs_;
  std::byte* arena_base_ = nullptr;
  std::vector<Patch> input_patches_, output_patches_, constant_patches_, arena_patches_;
};

}  // namespace tuyere
