// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine/prepared.h"

#include "kernels/run/executors.h"
#include "runtime/engine/control.h"

namespace tuyere {
namespace {

/// Address arithmetic that is defined for null bases too (empty tensors).
std::byte* at(const void* base, int64_t offset) noexcept {
  return reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(base) + static_cast<uintptr_t>(offset));
}

Status in_step(const PlanStep& step, const Status& status) {
  return {status.code(), "step '" + step.name + "'" + (step.tactic.empty() ? "" : " (" + step.tactic + ")") + ": " + status.message()};
}

}  // namespace

Result<std::unique_ptr<Prepared>> Prepared::make(const Plan& plan, int number, int device, DeviceApi* api, std::shared_ptr<const ConstantSet> constants,
                                                 std::span<const TensorRef> inputs) {
  std::unique_ptr<Prepared> made(new Prepared(plan, number, device, api));
  const PlanBody& body = made->body;
  TRY_ASSIGN(made->symbols_, solve_symbols(body, inputs, device));
  TRY_ASSIGN(made->sizes, eval_sizes(body, made->symbols_));
  TRY(check_shapes(body, made->sizes, made->symbols_, inputs));
  for (const PlanIo& io : body.inputs) made->inputs.push_back(make_slot(io, made->sizes, device));
  for (const PlanIo& io : body.outputs) made->outputs.push_back(make_slot(io, made->sizes, device));
  for (const IoSlot& slot : made->outputs) made->output_views.push_back(slot.view);
  made->bound_inputs_.resize(body.inputs.size());
  made->bound_outputs_.resize(body.outputs.size());
  made->constants = std::move(constants);
  made->steps.resize(body.steps.size());
  for (size_t i = 0; i < body.steps.size(); ++i) made->steps[i].capturable = is_capturable(plan, body.steps[i]);
  for (size_t i = 0; i < body.steps.size(); ++i) TRY(made->prepare_step(i));
  made->arena = plan_arena(body, made->sizes.buffer_bytes, made->sizes.workspaces);
  made->add_pointers();
  made->use_constant_addresses();
  return made;
}

PrepareArgs Prepared::step_args(const PlanStep& step) const {
  PrepareArgs args;
  for (int tensor : step.in) {
    args.in.push_back(sizes.tensors[tensor]);
    const PlanBuffer& buffer = body.buffers[body.tensors[tensor].buffer];
    const bool stays = buffer.kind == BufferKind::constant && device < 0;
    args.constants.push_back(stays ? at(constants->address(buffer.constant, false), sizes.offsets[tensor]) : nullptr);
    std::string key;
    if (stays) key = buffer.constant + "+" + std::to_string(sizes.offsets[tensor]) + "@" + std::to_string(constants->version_of(buffer.constant));
    args.constant_keys.push_back(std::move(key));
  }
  for (int tensor : step.out) args.out.push_back(sizes.tensors[tensor]);
  args.symbols = &symbols_;
  args.store = constants->packs.get();
  args.device = device;
  return args;
}

Status Prepared::prepare_step(size_t index) {
  const PlanStep& step = body.steps[index];
  if (is_control(step)) return prepare_control_step(index);
  const PrepareArgs args = step_args(step);
  TRY_ASSIGN(Executor * executor, find_executor(step.spec.executor));
  auto code = executor->prepare(step.spec, args);
  if (!code.is_ok()) return in_step(step, code.status());
  const Result<int64_t> workspace = executor->workspace(step.spec, args);
  if (!workspace.is_ok()) return in_step(step, workspace.status());
  if (workspace.value() < 0) return in_step(step, {Code::Internal, "negative workspace"});
  steps[index].code = std::move(*code);
  sizes.workspaces[index] = workspace.value();
  return Status::ok();
}

Status Prepared::prepare_control_step(size_t index) {
  const PlanStep& step = body.steps[index];
  ControlArgs args{plan, step, {}, {}, device, api_, constants};
  for (int tensor : step.in) args.in.push_back(sizes.tensors[tensor]);
  for (int tensor : step.out) args.out.push_back(sizes.tensors[tensor]);
  auto made = prepare_control(args);
  if (!made.is_ok()) return in_step(step, made.status());
  steps[index].code = std::move(made->code);
  sizes.workspaces[index] = made->workspace;
  return Status::ok();
}

bool Prepared::same_constants(const PlanStep& step, const ConstantSet& other) const {
  for (int tensor : step.in) {
    const PlanBuffer& buffer = body.buffers[body.tensors[tensor].buffer];
    if (buffer.kind == BufferKind::constant && constants->version_of(buffer.constant) != other.version_of(buffer.constant)) return false;
  }
  return true;
}

Status Prepared::use_constants(std::shared_ptr<const ConstantSet> next) {
  std::vector<size_t> stale;
  for (size_t i = 0; i < steps.size(); ++i)  // a control step's bodies hold addresses and packs of their own
    if (is_control(body.steps[i]) || (device < 0 && !same_constants(body.steps[i], *next))) stale.push_back(i);
  constants = std::move(next);
  const std::vector<int64_t> workspaces = sizes.workspaces;
  for (size_t i : stale) TRY(prepare_step(i));
  if (workspaces != sizes.workspaces) {
    arena = plan_arena(body, sizes.buffer_bytes, sizes.workspaces);
    arena_generation = 0;
    add_pointers();
  }
  use_constant_addresses();
  return Status::ok();
}

void Prepared::add_pointer(int tensor) {
  const int number = body.tensors[tensor].buffer;
  const PlanBuffer& buffer = body.buffers[number];
  const int64_t offset = sizes.offsets[tensor];
  switch (buffer.kind) {
    case BufferKind::input:
      input_patches_.push_back({pointers.size(), buffer.index, offset});
      break;
    case BufferKind::output:
      output_patches_.push_back({pointers.size(), buffer.index, offset});
      break;
    case BufferKind::constant:
      constant_patches_.push_back({pointers.size(), number, offset});
      break;
    case BufferKind::arena:
      arena_patches_.push_back({pointers.size(), number, arena.buffers[number] + offset});
      break;
  }
  pointers.push_back(nullptr);
}

void Prepared::add_pointers() {
  for (auto* patches : {&input_patches_, &output_patches_, &constant_patches_, &arena_patches_}) patches->clear();
  pointers.clear();
  for (size_t i = 0; i < body.steps.size(); ++i) {
    steps[i].first_pointer = pointers.size();
    for (int tensor : body.steps[i].in) add_pointer(tensor);
    for (int tensor : body.steps[i].out) add_pointer(tensor);
    arena_patches_.push_back({pointers.size(), -1, arena.workspaces[i]});
    pointers.push_back(nullptr);
  }
}

void Prepared::use_constant_addresses() {
  for (const Patch& patch : constant_patches_) {
    const void* base = constants->address(body.buffers[patch.index].constant, device >= 0);
    pointers[patch.slot] = at(base, patch.offset);
  }
}

void Prepared::use_arena(std::byte* base, uint64_t generation) {
  arena_base_ = base;
  arena_generation = generation;
  for (const Patch& patch : arena_patches_) pointers[patch.slot] = at(base, patch.offset);
}

void Prepared::use_io(void* const* in, void* const* out) noexcept {
  for (size_t i = 0; i < bound_inputs_.size(); ++i) bound_inputs_[i] = in[i];
  for (size_t i = 0; i < bound_outputs_.size(); ++i) bound_outputs_[i] = out[i];
  for (const Patch& patch : input_patches_) pointers[patch.slot] = at(in[patch.index], patch.offset);
  for (const Patch& patch : output_patches_) pointers[patch.slot] = at(out[patch.index], patch.offset);
}

std::byte* Prepared::address(int number) const {
  const PlanBuffer& buffer = body.buffers[number];
  switch (buffer.kind) {
    case BufferKind::input:
      return at(bound_inputs_[buffer.index], 0);
    case BufferKind::output:
      return at(bound_outputs_[buffer.index], 0);
    case BufferKind::constant:
      return at(constants->address(buffer.constant, device >= 0), 0);
    case BufferKind::arena:
      break;
  }
  return at(arena_base_, arena.buffers[number]);
}

}  // namespace tuyere
