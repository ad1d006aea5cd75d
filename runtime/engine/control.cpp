// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine/control.h"

#include <algorithm>
#include <cstring>

namespace tuyere {
namespace {

/// A body prepared for one set of input shapes.
class SubBody {
 public:
  Status open(const ControlArgs& args, int body, const std::vector<TensorView>& in) {
    std::vector<TensorRef> refs;
    for (const TensorView& view : in) refs.push_back({nullptr, view.dtype, view.shape, view.strides, args.device});
    TRY_ASSIGN(prepared_, Prepared::make(args.plan, body, args.device, args.api, args.constants, refs));
    for (size_t i = 0; i < refs.size(); ++i) TRY(explain(refs[i], prepared_->inputs[i], args.device, "input " + std::to_string(i) + " of the body"));
    return Status::ok();
  }

  /// The views that the caller has for the results must be the body's own.
  Status check_outputs(const std::vector<TensorView>& out, int device) const {
    if (out.size() != prepared_->outputs.size()) return {Code::DataLoss, "engine file: a control step and its body differ in the number of outputs"};
    for (size_t i = 0; i < out.size(); ++i) {
      if (!prepared_->outputs[i].bound_by_caller) return {Code::DataLoss, "engine file: an output of a control step's body aliases an input"};
      TRY(explain({nullptr, out[i].dtype, out[i].shape, out[i].strides, device}, prepared_->outputs[i], device,
                  "output " + std::to_string(i) + " of the body"));
    }
    return Status::ok();
  }

  int64_t arena_bytes() const { return prepared_->arena.bytes; }
  const std::vector<IoSlot>& outputs() const { return prepared_->outputs; }

  Status run(void* const* in, void* const* out, std::byte* arena, void* stream) noexcept {
    if (arena != arena_) prepared_->use_arena(arena_ = arena, 1);
    prepared_->use_io(in, out);
    for (Prepared::Step& step : prepared_->steps) TRY(step.code->run(prepared_->pointers.data() + step.first_pointer, stream));
    return Status::ok();
  }

 private:
  std::unique_ptr<Prepared> prepared_;
  std::byte* arena_ = nullptr;
};

/// One bool in host or device memory.
Status read_condition(DeviceApi* api, const void* data, void* stream, bool* value) noexcept {
  unsigned char byte = 0;
  if (api) {
    TRY(api->copy(&byte, data, 1, stream));
    TRY(api->synchronize(stream));
  } else {
    std::memcpy(&byte, data, 1);
  }
  *value = byte != 0;
  return Status::ok();
}

Status copy_bytes(DeviceApi* api, void* to, const void* from, int64_t bytes, void* stream) noexcept {
  if (!bytes || to == from) return Status::ok();
  if (api) return api->copy(to, from, bytes, stream);
  std::memmove(to, from, static_cast<size_t>(bytes));
  return Status::ok();
}

class CallStep final : public Executable {
 public:
  Status open(const ControlArgs& args) {
    inputs_ = args.in.size();
    outputs_ = args.out.size();
    TRY(body_.open(args, args.step.bodies[0], args.in));
    return body_.check_outputs(args.out, args.device);
  }
  int64_t workspace() const { return body_.arena_bytes(); }

  Status run(void* const* pointers, void* stream) noexcept override {
    return body_.run(pointers, pointers + inputs_, static_cast<std::byte*>(pointers[inputs_ + outputs_]), stream);
  }

 private:
  SubBody body_;
  size_t inputs_ = 0, outputs_ = 0;
};

class IfStep final : public Executable {
 public:
  Status open(const ControlArgs& args) {
    api_ = args.api;
    inputs_ = args.in.size();
    outputs_ = args.out.size();
    const std::vector<TensorView> passed(args.in.begin() + 1, args.in.end());
    for (int k : {0, 1}) {
      TRY(branches_[k].open(args, args.step.bodies[k], passed));
      TRY(branches_[k].check_outputs(args.out, args.device));
    }
    return Status::ok();
  }
  int64_t workspace() const { return std::max(branches_[0].arena_bytes(), branches_[1].arena_bytes()); }

  Status run(void* const* pointers, void* stream) noexcept override {
    bool condition = false;
    TRY(read_condition(api_, pointers[0], stream, &condition));
    return branches_[condition ? 0 : 1].run(pointers + 1, pointers + inputs_, static_cast<std::byte*>(pointers[inputs_ + outputs_]), stream);
  }

 private:
  DeviceApi* api_ = nullptr;
  SubBody branches_[2];
  size_t inputs_ = 0, outputs_ = 0;
};

/// Workspace: the condition, two copies of the state, the larger arena. The loop reads one copy and writes the other.
class WhileStep final : public Executable {
 public:
  Status open(const ControlArgs& args) {
    api_ = args.api;
    count_ = args.in.size();
    if (args.out.size() != count_) return {Code::DataLoss, "engine file: a loop's inputs and outputs differ in number"};
    TRY(cond_.open(args, args.step.bodies[0], args.in));
    TRY(loop_.open(args, args.step.bodies[1], args.in));
    TRY(loop_.check_outputs(args.out, args.device));
    if (cond_.outputs().size() != 1 || cond_.outputs()[0].extent != 1) return {Code::DataLoss, "engine file: a loop's condition is not one bool"};
    for (size_t i = 0; i < count_; ++i) {
      if (args.in[i].strides != args.out[i].strides || args.in[i].shape != args.out[i].shape)
        return {Code::DataLoss, "engine file: a loop's state changes its type"};
      offsets_.push_back(state_bytes_);
      extents_.push_back(loop_.outputs()[i].extent);
      state_bytes_ += align_memory(extents_[i]);
    }
    in_.resize(count_);
    out_.resize(count_);
    return Status::ok();
  }
  int64_t workspace() const { return kMemoryAlignment + 2 * state_bytes_ + std::max(cond_.arena_bytes(), loop_.arena_bytes()); }

  Status run(void* const* pointers, void* stream) noexcept override {
    auto* base = static_cast<std::byte*>(pointers[2 * count_]);
    std::byte* state[2] = {base + kMemoryAlignment, base + kMemoryAlignment + state_bytes_};
    std::byte* arena = base + kMemoryAlignment + 2 * state_bytes_;
    void* condition[1] = {base};
    std::copy(pointers, pointers + count_, in_.begin());
    for (int next = 0;; next ^= 1) {
      bool go_on = false;
      TRY(cond_.run(in_.data(), condition, arena, stream));
      TRY(read_condition(api_, base, stream, &go_on));
      if (!go_on) break;
      for (size_t i = 0; i < count_; ++i) out_[i] = state[next] + offsets_[i];
      TRY(loop_.run(in_.data(), out_.data(), arena, stream));
      std::swap(in_, out_);
    }
    for (size_t i = 0; i < count_; ++i) TRY(copy_bytes(api_, pointers[count_ + i], in_[i], extents_[i], stream));
    return Status::ok();
  }

 private:
  DeviceApi* api_ = nullptr;
  SubBody cond_, loop_;
  size_t count_ = 0;
  int64_t state_bytes_ = 0;
  std::vector<int64_t> offsets_, extents_;
  std::vector<void*> in_, out_;
};

template <class Step>
Result<ControlStep> prepare_as(const ControlArgs& args) {
  auto step = std::make_unique<Step>();
  TRY(step->open(args));
  const int64_t workspace = step->workspace();
  return ControlStep{std::move(step), workspace};
}

}  // namespace

bool is_capturable(const Plan& plan, const PlanStep& step) {
  const std::string& executor = step.spec.executor;
  if (executor == "call") {
    const std::vector<PlanStep>& steps = plan.bodies[step.bodies[0]].steps;
    return std::all_of(steps.begin(), steps.end(), [&](const PlanStep& inner) { return is_capturable(plan, inner); });
  }
  return executor == "cuda" || executor == "cublaslt" || executor == "cudnn";
}

Result<ControlStep> prepare_control(const ControlArgs& args) {
  if (args.step.spec.executor == "call") return prepare_as<CallStep>(args);
  return args.step.spec.executor == "if" ? prepare_as<IfStep>(args) : prepare_as<WhileStep>(args);
}

}  // namespace tuyere
