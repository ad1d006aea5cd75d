// SPDX-License-Identifier: Apache-2.0
#include <list>
#include <new>

#include "common/error.h"
#include "runtime/engine/engine_impl.h"
#include "runtime/engine/graphs.h"
#include "runtime/engine/observe.h"

namespace tuyere {
namespace {

constexpr size_t kMaxPrepared = 8;

/// A prepared shape, the runner of its body, and its graphs.
struct Shape {
  Shape(std::unique_ptr<Prepared> made, Runner& runner, DeviceApi* api, int device) : prepared(std::move(made)), runner(runner), graphs(api, device) {}
  std::unique_ptr<Prepared> prepared;
  Runner& runner;
  GraphCache graphs;
};

/// A body that the context may run: the program, and the program again for each further profile.
struct Candidate {
  int body;
  std::unique_ptr<Runner> runner;
};

class ContextImpl final : public Context {
 public:
  ContextImpl(std::shared_ptr<Engine> engine, int body, int device)
      : engine_(std::move(engine)), impl_(engine_->impl()), body_(impl_.plan.bodies[body]), device_(device), api_(device >= 0 ? impl_.api : nullptr) {
    candidates_.push_back({body, nullptr});
    if (body == 0)
      for (int profile : impl_.plan.profiles) candidates_.push_back({profile, nullptr});
  }

  ~ContextImpl() override {
    const DeviceScope scope(api_, device_);
    wait_for_last_call();
    shapes_.clear();
    arena_ = {};
    candidates_.clear();
    if (api_) {
      api_->destroy_event(order_event_);
      api_->destroy_stream(capture_stream_);
    }
  }

  Status open() {
    const DeviceScope scope(api_, device_);
    TRY(scope.status());
    for (Candidate& candidate : candidates_) {
      TRY_ASSIGN(candidate.runner, Runner::make(impl_.plan.bodies[candidate.body], device_, api_));
    }
    input_addresses_.resize(body_.inputs.size());
    output_addresses_.resize(body_.outputs.size());
    if (!api_) return Status::ok();
    TRY_ASSIGN(order_event_, api_->create_event(device_, false));
    TRY_ASSIGN(capture_stream_, api_->create_stream(device_));
    if (!impl_.options.cuda_graphs) no_graph_ = "graphs are switched off";
    return Status::ok();
  }

  Status prepare(std::span<const TensorRef> inputs) override { return select(inputs, nullptr); }

  Result<std::span<const TensorView>> outputs(std::span<const TensorRef> inputs) override {
    TRY(select(inputs, nullptr));
    return std::span<const TensorView>(shapes_.front().prepared->output_views);
  }

  Status execute(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs, void* stream) override {
    TRY(bind(inputs, outputs, stream));
    const DeviceScope scope(api_, device_);
    TRY(scope.status());
    last_ = shapes_.front().prepared.get();
    if (!api_) {
      last_->use_io(input_addresses_.data(), output_addresses_.data());
      return shapes_.front().runner.run(*last_, stream);
    }
    return guarded([&] { return execute_on_device(shapes_.front(), stream); });
  }

  Result<std::vector<StepTime>> profile(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs, void* stream) override {
    TRY(bind(inputs, outputs, stream));
    const DeviceScope scope(api_, device_);
    TRY(scope.status());
    if (api_) TRY(order_after_last_call(stream));
    last_ = shapes_.front().prepared.get();
    last_->use_io(input_addresses_.data(), output_addresses_.data());
    mode_ = "steps";
    why_ = "profiling";
    return guarded([&] { return shapes_.front().runner.profile(*last_, stream); });
  }

  Result<std::vector<std::pair<std::string, std::vector<std::byte>>>> observed() override {
    if (!last_) return Status(Code::FailedPrecondition, "observed tensors are there after execute(), and until prepare() for other shapes");
    const DeviceScope scope(api_, device_);
    TRY(scope.status());
    wait_for_last_call();
    return guarded([&] { return copy_observed(*last_, api_); });
  }

  int64_t arena_bytes() const override { return arena_.bytes(); }
  std::string mode() const override { return why_ && *why_ ? std::string(mode_) + ": " + why_ : mode_; }

 private:
  template <class F>
  static auto guarded(F body) -> decltype(body()) {
    try {
      return body();
    } catch (const std::bad_alloc&) {
      return Status(Code::OutOfMemory, "out of host memory");
    } catch (const Error& error) {
      return Status(error.fault() == Fault::User ? Code::InvalidArgument : Code::Internal, error.message());
    } catch (const std::exception& error) {
      return Status(Code::Internal, error.what());
    }
  }

  bool matches(const Shape& shape, std::span<const TensorRef> inputs) const noexcept {
    const std::vector<IoSlot>& slots = shape.prepared->inputs;
    if (inputs.size() != slots.size()) return false;
    for (size_t i = 0; i < slots.size(); ++i)
      if (!fits(inputs[i], slots[i], device_)) return false;
    return true;
  }

  /// Brings the shapes of `inputs` to the front, ready to run. Known shapes: no allocation, no lock.
  Status select(std::span<const TensorRef> inputs, void* stream) {
    auto found = shapes_.begin();
    while (found != shapes_.end() && !matches(*found, inputs)) ++found;
    if (found == shapes_.end()) return guarded([&] { return add_shape(inputs, stream); });
    if (found != shapes_.begin()) shapes_.splice(shapes_.begin(), shapes_, found);
    const Prepared& prepared = *shapes_.front().prepared;
    const bool stale = prepared.constants->version != impl_.version.load(std::memory_order_acquire);
    if (!stale && prepared.arena_generation == arena_generation_) [[likely]]
      return Status::ok();
    return guarded([&] { return refresh(stale, stream); });
  }

  Status add_shape(std::span<const TensorRef> inputs, void* stream) {
    const DeviceScope scope(api_, device_);
    TRY(scope.status());
    for (const Shape& shape : shapes_)  // known shapes, other strides: say so before anything is prepared
      TRY(explain_if_same_shape(shape, inputs));
    TRY_ASSIGN(Candidate * chosen, choose_profile(inputs));
    TRY_ASSIGN(std::unique_ptr<Prepared> made, Prepared::make(impl_.plan, chosen->body, device_, api_, impl_.constants(), inputs));
    for (size_t i = 0; i < inputs.size(); ++i) TRY(explain(inputs[i], made->inputs[i], device_, "input '" + body_.inputs[i].name + "'"));
    if (shapes_.size() == kMaxPrepared) drop(std::prev(shapes_.end()));
    shapes_.emplace_front(std::move(made), *chosen->runner, api_, device_);
    return refresh(false, stream);
  }

  /// The first profile whose ranges hold the sizes of `inputs`.
  Result<Candidate*> choose_profile(std::span<const TensorRef> inputs) {
    std::string reasons;
    for (size_t i = 0; i < candidates_.size(); ++i) {
      const Result<Symbols> symbols = solve_symbols(impl_.plan.bodies[candidates_[i].body], inputs, device_);
      if (symbols.is_ok()) return &candidates_[i];
      if (candidates_.size() == 1) return symbols.status();
      reasons += "\n  profile " + std::to_string(i) + ": " + symbols.status().message();
    }
    return Status(Code::InvalidArgument, "the inputs fit none of the engine's profiles:" + reasons);
  }

  Status explain_if_same_shape(const Shape& shape, std::span<const TensorRef> inputs) const {
    const std::vector<IoSlot>& slots = shape.prepared->inputs;
    if (inputs.size() != slots.size()) return Status::ok();
    for (size_t i = 0; i < slots.size(); ++i)
      if (!std::equal(inputs[i].shape.begin(), inputs[i].shape.end(), slots[i].view.shape.begin(), slots[i].view.shape.end())) return Status::ok();
    for (size_t i = 0; i < slots.size(); ++i) TRY(explain(inputs[i], slots[i], device_, "input '" + body_.inputs[i].name + "'"));
    return Status::ok();
  }

  void drop(std::list<Shape>::iterator shape) {
    wait_for_last_call();
    if (last_ == shape->prepared.get()) last_ = nullptr;
    why_ = nullptr;  // it may be the dropped shape's text
    shapes_.erase(shape);
  }

  /// Gives the front shape the current constants and the arena. On failure it is forgotten.
  Status refresh(bool stale, void* stream) {
    const DeviceScope scope(api_, device_);
    TRY(scope.status());
    Shape& shape = shapes_.front();
    Status status;
    if (stale) {
      wait_for_last_call();
      shape.graphs.clear();
      status = shape.prepared->use_constants(impl_.constants());
    }
    if (status.is_ok()) status = attach_arena(shape, stream);
    if (!status.is_ok()) drop(shapes_.begin());
    return status;
  }

  Status attach_arena(Shape& shape, void* stream) {
    Prepared& prepared = *shape.prepared;
    if (prepared.arena.bytes > arena_.bytes()) {
      wait_for_last_call();
      last_ = nullptr;
      ++arena_generation_;
      arena_ = Memory();
      TRY_ASSIGN(arena_, Memory::allocate(prepared.arena.bytes, device_, api_, stream));
    }
    if (prepared.arena_generation == arena_generation_) return Status::ok();
    shape.graphs.clear();
    prepared.use_arena(arena_.data(), arena_generation_);
    return Status::ok();
  }

  Status bind(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs, void* stream) {
    TRY(select(inputs, stream));
    const Prepared& prepared = *shapes_.front().prepared;
    if (outputs.size() != prepared.outputs.size())
      return {Code::InvalidArgument,
              "the engine has " + std::to_string(prepared.outputs.size()) + " outputs, " + std::to_string(outputs.size()) + " were given"};
    for (size_t i = 0; i < outputs.size(); ++i) {
      const IoSlot& slot = prepared.outputs[i];
      if (slot.bound_by_caller && !(fits(outputs[i], slot, device_) && good_address(outputs[i], slot))) {
        const std::string what = "output '" + body_.outputs[i].name + "'";
        TRY(explain(outputs[i], slot, device_, what));
        TRY(explain_address(outputs[i], slot, what));
      }
      output_addresses_[i] = slot.bound_by_caller ? outputs[i].data : nullptr;
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!good_address(inputs[i], prepared.inputs[i])) return explain_address(inputs[i], prepared.inputs[i], "input '" + body_.inputs[i].name + "'");
      input_addresses_[i] = inputs[i].data;
    }
    return Status::ok();
  }

  Status execute_on_device(Shape& shape, void* stream) {
    const bool capturing = api_->is_capturing(stream);
    if (!capturing) TRY(order_after_last_call(stream));
    const char* no_graph = no_graph_ ? no_graph_ : capturing ? "the stream is being captured" : nullptr;
    if (no_graph) {
      mode_ = "steps";
      why_ = no_graph;
      shape.prepared->use_io(input_addresses_.data(), output_addresses_.data());
      return shape.runner.run(*shape.prepared, stream);
    }
    const Status status = shape.graphs.run(*shape.prepared, shape.runner, input_addresses_.data(), output_addresses_.data(), stream, capture_stream_);
    mode_ = shape.graphs.mode();
    why_ = shape.graphs.why().c_str();
    return status;
  }

  /// The arena is shared by all calls: a call on another stream waits for the one before.
  Status order_after_last_call(void* stream) {
    if (called_ && stream != last_stream_) {
      TRY(api_->record(order_event_, last_stream_));
      TRY(api_->wait(stream, order_event_));
    }
    called_ = true;
    last_stream_ = stream;
    return Status::ok();
  }

  void wait_for_last_call() noexcept {
    if (api_ && called_ && !api_->is_capturing(last_stream_)) (void)api_->synchronize(last_stream_).is_ok();
  }

  const std::shared_ptr<Engine> engine_;
  Engine::Impl& impl_;
  const PlanBody& body_;
  const int device_;
  DeviceApi* const api_;
  std::vector<Candidate> candidates_;
  std::list<Shape> shapes_;  // most recently used first
  Prepared* last_ = nullptr;
  Memory arena_;
  uint64_t arena_generation_ = 1;
  std::vector<void*> input_addresses_, output_addresses_;
  void *order_event_ = nullptr, *capture_stream_ = nullptr, *last_stream_ = nullptr;
  bool called_ = false;
  const char* no_graph_ = nullptr;
  const char* mode_ = "steps";
  const char* why_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<Context>> make_context(std::shared_ptr<Engine> engine, int body, int device) {
  auto context = std::make_unique<ContextImpl>(std::move(engine), body, device);
  TRY(context->open());
  return std::unique_ptr<Context>(std::move(context));
}

}  // namespace tuyere
