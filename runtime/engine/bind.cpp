// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine/bind.h"

#include <algorithm>

#include "runtime/engine/engine.h"
#include "runtime/plan/validate.h"

namespace tuyere {
namespace {

std::string list_text(std::span<const int64_t> values) {
  std::string text = "[";
  for (size_t i = 0; i < values.size(); ++i) text += (i ? "," : "") + std::to_string(values[i]);
  return text + "]";
}

std::string device_text(int device) { return device < 0 ? "the CPU" : "cuda:" + std::to_string(device); }

std::string values_text(const Symbols& symbols) {
  std::string text;
  for (const auto& [name, value] : symbols.values) text += (text.empty() ? " with " : ", ") + name + " = " + std::to_string(value);
  return text;
}

/// Strides of dims of size 1, and of empty tensors, do not matter.
bool same_strides(const TensorRef& ref, const TensorView& view) noexcept {
  for (size_t i = 0; i < view.shape.size(); ++i)
    if (view.shape[i] == 0) return true;
  for (size_t i = 0; i < view.shape.size(); ++i)
    if (view.shape[i] != 1 && ref.strides[i] != view.strides[i]) return false;
  return true;
}

bool same_shape(const TensorRef& ref, const TensorView& view) noexcept {
  return ref.shape.size() == view.shape.size() && ref.strides.size() == view.shape.size() &&
         std::equal(view.shape.begin(), view.shape.end(), ref.shape.begin());
}

Status check_kind(const TensorRef& ref, DType dtype, size_t rank, int device, const std::string& what) {
  if (ref.dtype != dtype) return invalid(what + " has dtype " + std::string(name(ref.dtype)) + ", the engine needs " + std::string(name(dtype)));
  if (ref.shape.size() != rank) return invalid(what + " has " + std::to_string(ref.shape.size()) + " dimensions, the engine needs " + std::to_string(rank));
  if (ref.strides.size() != rank) return invalid(what + " has " + std::to_string(ref.strides.size()) + " strides for " + std::to_string(rank) + " dimensions");
  if (ref.device != device) return invalid(what + " is on " + device_text(ref.device) + ", the engine runs on " + device_text(device));
  return Status::ok();
}

/// dim = a * symbol + b.
Status solve(const PlanSymbol& symbol, const std::string& input, int64_t dim, int64_t* value) {
  int64_t at[2];
  for (int i = 0; i < 2; ++i) {
    Symbols values;
    values.set(symbol.name, i);
    if (!symbol.expr.try_eval(values, &at[i])) return {Code::Internal, "symbol '" + symbol.name + "' has no solution"};
  }
  const int64_t slope = at[1] - at[0];
  const std::string what = "input '" + input + "': dim " + std::to_string(symbol.dim) + " is " + std::to_string(dim);
  if ((dim - at[0]) % slope != 0) return invalid(what + ", which '" + symbol.expr.str() + "' never is");
  *value = (dim - at[0]) / slope;
  if (*value >= symbol.min && *value <= symbol.max) return Status::ok();
  const std::string range =
      symbol.max == INT64_MAX ? ">= " + std::to_string(symbol.min) : "in [" + std::to_string(symbol.min) + "," + std::to_string(symbol.max) + "]";
  return invalid(what + ", so " + symbol.name + " = " + std::to_string(*value) + "; the engine was built for " + symbol.name + " " + range);
}

}  // namespace

bool fits(const TensorRef& ref, const IoSlot& slot, int device) noexcept {
  return ref.dtype == slot.view.dtype && ref.device == device && same_shape(ref, slot.view) && same_strides(ref, slot.view);
}

bool good_address(const TensorRef& ref, const IoSlot& slot) noexcept {
  return slot.extent == 0 || (ref.data && reinterpret_cast<uintptr_t>(ref.data) % static_cast<uintptr_t>(slot.alignment) == 0);
}

Status explain(const TensorRef& ref, const IoSlot& slot, int device, const std::string& what) {
  const TensorView& view = slot.view;
  TRY(check_kind(ref, view.dtype, view.shape.size(), device, what));
  if (!same_shape(ref, view)) return invalid(what + " has shape " + list_text(ref.shape) + ", the engine needs " + list_text(view.shape));
  if (!same_strides(ref, view))
    return invalid(what + " has strides " + list_text(ref.strides) + ", the engine needs " + list_text(view.strides) + " for shape " + list_text(view.shape));
  return Status::ok();
}

Status explain_address(const TensorRef& ref, const IoSlot& slot, const std::string& what) {
  if (good_address(ref, slot)) return Status::ok();
  if (!ref.data) return invalid(what + " has no data");
  return invalid(what + ": its address is not a multiple of " + std::to_string(slot.alignment) + " bytes; pass an aligned copy");
}

Result<Symbols> solve_symbols(const PlanBody& body, std::span<const TensorRef> inputs, int device) {
  if (inputs.size() != body.inputs.size())
    return invalid("the engine has " + std::to_string(body.inputs.size()) + " inputs, " + std::to_string(inputs.size()) + " were given");
  for (size_t i = 0; i < inputs.size(); ++i) {
    const PlanTensor& tensor = body.tensors[body.inputs[i].tensor];
    TRY(check_kind(inputs[i], tensor.dtype, tensor.shape.size(), device, "input '" + body.inputs[i].name + "'"));
    for (int64_t dim : inputs[i].shape)
      if (dim < 0 || dim > int64_t{1} << 48) return invalid("input '" + body.inputs[i].name + "' has shape " + list_text(inputs[i].shape));
  }
  Symbols symbols;
  for (const PlanSymbol& symbol : body.symbols) {
    int64_t value = 0;
    TRY(solve(symbol, body.inputs[symbol.input].name, inputs[symbol.input].shape[symbol.dim], &value));
    symbols.set(symbol.name, value);
  }
  return symbols;
}

Status check_shapes(const PlanBody& body, const BodySizes& sizes, const Symbols& symbols, std::span<const TensorRef> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const int tensor = body.inputs[i].tensor;
    const std::vector<int64_t>& expected = sizes.tensors[tensor].shape;
    if (std::equal(expected.begin(), expected.end(), inputs[i].shape.begin(), inputs[i].shape.end())) continue;
    return invalid("input '" + body.inputs[i].name + "' has shape " + list_text(inputs[i].shape) + ", the engine needs " + str(body.tensors[tensor].shape) +
                   (symbols.values.empty() ? "" : " = " + list_text(expected) + values_text(symbols)));
  }
  return Status::ok();
}

IoSlot make_slot(const PlanIo& io, const BodySizes& sizes, int device) {
  IoSlot slot;
  slot.view = sizes.tensors[io.tensor];
  slot.extent = view_extent(slot.view.dtype, slot.view.shape, slot.view.strides);
  slot.alignment = device >= 0 ? kIoAlignment : std::max(1, bits(slot.view.dtype) / 8);
  slot.bound_by_caller = io.aliases_input < 0;
  return slot;
}

}  // namespace tuyere
