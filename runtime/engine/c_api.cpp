// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine/c_api.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "common/error.h"
#include "runtime/engine/bind.h"
#include "runtime/engine/engine_impl.h"
#include "runtime/plan/validate.h"

using tuyere::Code;
using tuyere::Context;
using tuyere::Engine;
using tuyere::invalid;
using tuyere::IoSlot;
using tuyere::PlanBody;
using tuyere::PlanIo;
using tuyere::Result;
using tuyere::Status;
using tuyere::TensorRef;

struct tuyere_engine {
  std::shared_ptr<Engine> engine;
  std::vector<std::vector<int64_t>> input_shapes, output_shapes;  // -1: dynamic
};

struct tuyere_context {
  std::shared_ptr<Engine> engine;
  std::unique_ptr<Context> context;
  std::vector<std::vector<int64_t>> shapes;
  std::vector<IoSlot> inputs, outputs;  // after prepare
  std::vector<TensorRef> input_refs, output_refs;
};

namespace {

constexpr int64_t kMostBytes = int64_t{1} << 60;

thread_local std::string last_error;

int report(const Status& status) {
  if (!status.is_ok()) last_error = status.message();
  return static_cast<int>(status.code());
}

template <class F>
int guarded_call(F body) {
  try {
    return report(body());
  } catch (const std::bad_alloc&) {
    return report({Code::OutOfMemory, "out of host memory"});
  } catch (const std::exception& error) {
    return report({Code::Internal, error.what()});
  }
}

/// A pointer argument by its name in c_api.h.
struct Given {
  const char* name;
  const void* pointer;
};
/// An error for the first that is NULL.
Status need(std::initializer_list<Given> arguments) {
  for (const Given& argument : arguments)
    if (!argument.pointer) return invalid("the argument '" + std::string(argument.name) + "' is NULL");
  return Status::ok();
}

std::vector<std::vector<int64_t>> declared_shapes(const PlanBody& body, const std::vector<PlanIo>& ios) {
  std::vector<std::vector<int64_t>> shapes;
  for (const PlanIo& io : ios) {
    std::vector<int64_t>& shape = shapes.emplace_back();
    for (const tuyere::Dim& dim : body.tensors[io.tensor].shape) shape.push_back(dim.is_const() ? dim.value() : -1);
  }
  return shapes;
}

/// Dynamic sizes at their tuned values.
std::vector<std::vector<int64_t>> tuned_shapes(const PlanBody& body) {
  tuyere::Symbols symbols;
  for (const tuyere::PlanSymbol& symbol : body.symbols) symbols.set(symbol.name, symbol.opt > 0 ? symbol.opt : std::clamp<int64_t>(1, symbol.min, symbol.max));
  std::vector<std::vector<int64_t>> shapes;
  for (const PlanIo& io : body.inputs) shapes.push_back(tuyere::eval(body.tensors[io.tensor].shape, symbols));
  return shapes;
}

Status wrap(Result<std::shared_ptr<Engine>> loaded, tuyere_engine** out) {
  if (!loaded.is_ok()) return loaded.status();
  const PlanBody& body = loaded.value()->body();
  *out = new tuyere_engine{loaded.value(), declared_shapes(body, body.inputs), declared_shapes(body, body.outputs)};
  return Status::ok();
}

int describe(const PlanBody& body, const std::vector<PlanIo>& ios, const std::vector<std::vector<int64_t>>& shapes, int index, tuyere_io* out) {
  if (!out) return report(need({{"io", out}}));
  if (index < 0 || index >= static_cast<int>(ios.size())) return report(invalid("no such input or output"));
  *out = {ios[index].name.c_str(),
          tuyere::name(body.tensors[ios[index].tensor].dtype).data(),
          static_cast<int>(shapes[index].size()),
          shapes[index].data(),
          nullptr,
          -1};
  return 0;
}

int describe(const std::vector<PlanIo>& ios, const std::vector<IoSlot>& slots, int index, tuyere_io* out) {
  if (!out) return report(need({{"io", out}}));
  if (index < 0 || index >= static_cast<int>(slots.size())) return report(invalid("no such input or output, or tuyere_context_prepare was not called"));
  const tuyere::TensorView& view = slots[index].view;
  *out = {ios[index].name.c_str(), tuyere::name(view.dtype).data(), static_cast<int>(view.shape.size()), view.shape.data(), view.strides.data(),
          slots[index].extent};
  return 0;
}

std::vector<TensorRef> refs_of(const std::vector<IoSlot>& slots, int device) {
  std::vector<TensorRef> refs;
  for (const IoSlot& slot : slots) refs.push_back({nullptr, slot.view.dtype, slot.view.shape, slot.view.strides, device});
  return refs;
}

Status prepare(tuyere_context& context) {
  const PlanBody& body = context.engine->body();
  const int device = context.engine->device();
  context.inputs.clear();
  context.outputs.clear();
  std::vector<std::vector<int64_t>> strides;
  for (const std::vector<int64_t>& shape : context.shapes) strides.push_back(tuyere::contiguous_strides(shape));
  std::vector<TensorRef> asked;
  for (size_t i = 0; i < context.shapes.size(); ++i)
    asked.push_back({nullptr, body.tensors[body.inputs[i].tensor].dtype, context.shapes[i], strides[i], device});
  TRY_ASSIGN(const tuyere::Symbols symbols, tuyere::solve_symbols(body, asked, device));
  TRY_ASSIGN(const tuyere::BodySizes sizes, tuyere::eval_sizes(body, symbols));
  TRY(tuyere::check_shapes(body, sizes, symbols, asked));
  std::vector<IoSlot> inputs, outputs;
  for (const PlanIo& io : body.inputs) inputs.push_back(make_slot(io, sizes, device));
  for (const PlanIo& io : body.outputs) outputs.push_back(make_slot(io, sizes, device));
  TRY(context.context->prepare(refs_of(inputs, device)));
  context.inputs = std::move(inputs);
  context.outputs = std::move(outputs);
  context.input_refs = refs_of(context.inputs, device);
  context.output_refs = refs_of(context.outputs, device);
  return Status::ok();
}

}  // namespace

const char* tuyere_last_error(void) { return last_error.c_str(); }

int tuyere_engine_load(const char* path, int device, tuyere_engine** engine) {
  return guarded_call([&]() -> Status {
    TRY(need({{"path", path}, {"engine", engine}}));
    return wrap(Engine::load(std::string(path), {.device = device}), engine);
  });
}

int tuyere_engine_load_memory(const void* data, size_t bytes, int device, tuyere_engine** engine) {
  return guarded_call([&]() -> Status {
    TRY(need({{"data", data}, {"engine", engine}}));
    return wrap(Engine::load(std::span(static_cast<const std::byte*>(data), bytes), nullptr, {.device = device}), engine);
  });
}

void tuyere_engine_destroy(tuyere_engine* engine) { delete engine; }
int tuyere_engine_device(const tuyere_engine* engine) { return engine ? engine->engine->device() : -1; }
int tuyere_engine_input_count(const tuyere_engine* engine) { return engine ? static_cast<int>(engine->input_shapes.size()) : 0; }
int tuyere_engine_output_count(const tuyere_engine* engine) { return engine ? static_cast<int>(engine->output_shapes.size()) : 0; }

int tuyere_engine_input(const tuyere_engine* engine, int index, tuyere_io* io) {
  if (!engine) return report(need({{"engine", engine}}));
  return describe(engine->engine->body(), engine->engine->body().inputs, engine->input_shapes, index, io);
}

int tuyere_engine_output(const tuyere_engine* engine, int index, tuyere_io* io) {
  if (!engine) return report(need({{"engine", engine}}));
  return describe(engine->engine->body(), engine->engine->body().outputs, engine->output_shapes, index, io);
}

int tuyere_context_create(tuyere_engine* engine, tuyere_context** context) {
  return guarded_call([&]() -> Status {
    TRY(need({{"engine", engine}, {"context", context}}));
    TRY_ASSIGN(std::unique_ptr<Context> made, engine->engine->create_context());
    *context = new tuyere_context{engine->engine, std::move(made), tuned_shapes(engine->engine->body()), {}, {}, {}, {}};
    return Status::ok();
  });
}

void tuyere_context_destroy(tuyere_context* context) { delete context; }

int tuyere_context_set_shape(tuyere_context* context, int input, const int64_t* shape) {
  if (!context || !shape) return report(need({{"context", context}, {"shape", shape}}));
  if (input < 0 || input >= static_cast<int>(context->shapes.size())) return report(invalid("no such input"));
  std::copy_n(shape, context->shapes[input].size(), context->shapes[input].begin());
  context->inputs.clear();
  context->outputs.clear();
  return 0;
}

int tuyere_context_prepare(tuyere_context* context) {
  return guarded_call([&]() -> Status {
    TRY(need({{"context", context}}));
    return prepare(*context);
  });
}

int tuyere_context_input(const tuyere_context* context, int index, tuyere_io* io) {
  if (!context) return report(need({{"context", context}}));
  return describe(context->engine->body().inputs, context->inputs, index, io);
}
int tuyere_context_output(const tuyere_context* context, int index, tuyere_io* io) {
  if (!context) return report(need({{"context", context}}));
  return describe(context->engine->body().outputs, context->outputs, index, io);
}

int tuyere_context_execute(tuyere_context* context, void* const* inputs, void* const* outputs, void* stream) {
  if (!context) return report(need({{"context", context}}));
  const PlanBody& body = context->engine->body();
  if (context->inputs.size() != body.inputs.size() || context->outputs.size() != body.outputs.size())
    return report(invalid("tuyere_context_prepare was not called"));
  return guarded_call([&]() -> Status {
    if (!context->inputs.empty()) TRY(need({{"inputs", inputs}}));
    if (!context->outputs.empty()) TRY(need({{"outputs", outputs}}));
    for (size_t i = 0; i < context->inputs.size(); ++i) context->input_refs[i].data = inputs[i];
    for (size_t i = 0; i < context->outputs.size(); ++i) context->output_refs[i].data = outputs[i];
    return context->context->execute(context->input_refs, context->output_refs, stream);
  });
}

int tuyere_allocate(tuyere_engine* engine, int64_t bytes, void** data) {
  return guarded_call([&]() -> Status {
    TRY(need({{"engine", engine}, {"data", data}}));
    if (bytes < 0 || bytes > kMostBytes) return invalid("cannot allocate " + std::to_string(bytes) + " bytes");
    const int64_t size = std::max<int64_t>(bytes + 63, 64) / 64 * 64;
    if (tuyere::DeviceApi* api = engine->engine->impl().api) {
      TRY_ASSIGN(*data, api->alloc(engine->engine->device(), size));
      return Status::ok();
    }
    *data = std::aligned_alloc(64, static_cast<size_t>(size));
    return *data ? Status::ok() : Status(Code::OutOfMemory, "cannot allocate " + std::to_string(bytes) + " bytes");
  });
}

void tuyere_release(tuyere_engine* engine, void* data) {
  if (!engine || !data) return;
  if (tuyere::DeviceApi* api = engine->engine->impl().api)
    api->free(engine->engine->device(), data);
  else
    std::free(data);
}

int tuyere_copy(tuyere_engine* engine, void* to, const void* from, int64_t bytes) {
  return guarded_call([&]() -> Status {
    if (bytes == 0) return Status::ok();
    TRY(need({{"engine", engine}, {"to", to}, {"from", from}}));
    if (bytes < 0) return invalid("cannot copy " + std::to_string(bytes) + " bytes");
    tuyere::DeviceApi* api = engine->engine->impl().api;
    if (!api) {
      std::memcpy(to, from, static_cast<size_t>(bytes));
      return Status::ok();
    }
    const tuyere::DeviceScope scope(api, engine->engine->device());
    TRY(scope.status());
    TRY(api->synchronize(nullptr));
    return api->copy_now(engine->engine->device(), to, from, bytes);
  });
}
