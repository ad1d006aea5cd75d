// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/sizes.h"

#include "runtime/plan/validate.h"

namespace tuyere {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 48;

std::string values_text(const Symbols& symbols) {
  std::string text;
  for (const auto& [name, value] : symbols.values) text += (text.empty() ? " (" : ", ") + name + " = " + std::to_string(value);
  return text.empty() ? text : text + ")";
}

Status bad_size(const std::string& what, const Symbols& symbols) { return {Code::InvalidArgument, what + values_text(symbols)}; }

Status eval_dim(const Dim& dim, const Symbols& symbols, int64_t low, const std::string& what, int64_t* out) {
  if (!dim.try_eval(symbols, out)) return bad_size(what + ": cannot evaluate '" + dim.str() + "'", symbols);
  if (*out < low || *out > kMaxBytes) return bad_size(what + ": '" + dim.str() + "' is " + std::to_string(*out) + ", which is out of range", symbols);
  return Status::ok();
}

Status eval_tensor(const PlanTensor& tensor, const Symbols& symbols, TensorView& view, int64_t* offset) {
  const std::string what = "tensor '" + tensor.name + "'";
  view.dtype = tensor.dtype;
  view.shape.resize(tensor.shape.size());
  view.strides.resize(tensor.strides.size());
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    TRY(eval_dim(tensor.shape[i], symbols, 0, what, &view.shape[i]));
    TRY(eval_dim(tensor.strides[i], symbols, -kMaxBytes, what, &view.strides[i]));
  }
  __int128 count = 1;
  for (int64_t dim : view.shape)
    if ((count *= dim) > kMaxBytes) return bad_size(what + " has too many elements", symbols);
  return eval_dim(tensor.offset, symbols, 0, what, offset);
}

/// Callers' tensors: the buffer is what their strides span.
void size_io(const PlanBody& body, const std::vector<PlanIo>& ios, BufferKind kind, BodySizes& sizes) {
  for (const PlanIo& io : ios) {
    const int buffer = body.tensors[io.tensor].buffer;
    const TensorView& view = sizes.tensors[io.tensor];
    if (body.buffers[buffer].kind == kind && io.aliases_input < 0) sizes.buffer_bytes[buffer] = view_extent(view.dtype, view.shape, view.strides);
  }
}

}  // namespace

Result<BodySizes> eval_sizes(const PlanBody& body, const Symbols& symbols) {
  BodySizes sizes;
  sizes.tensors.resize(body.tensors.size());
  sizes.offsets.resize(body.tensors.size());
  sizes.buffer_bytes.resize(body.buffers.size());
  sizes.workspaces.resize(body.steps.size());
  for (size_t i = 0; i < body.buffers.size(); ++i) TRY(eval_dim(body.buffers[i].bytes, symbols, 0, "buffer " + std::to_string(i), &sizes.buffer_bytes[i]));
  for (size_t i = 0; i < body.tensors.size(); ++i) TRY(eval_tensor(body.tensors[i], symbols, sizes.tensors[i], &sizes.offsets[i]));
  for (size_t i = 0; i < body.steps.size(); ++i)
    TRY(eval_dim(body.steps[i].spec.workspace, symbols, 0, "workspace of step '" + body.steps[i].name + "'", &sizes.workspaces[i]));
  size_io(body, body.inputs, BufferKind::input, sizes);
  size_io(body, body.outputs, BufferKind::output, sizes);
  for (size_t i = 0; i < body.tensors.size(); ++i) {
    const TensorView& view = sizes.tensors[i];
    if (!view_fits(view.dtype, view.shape, view.strides, sizes.offsets[i], sizes.buffer_bytes[body.tensors[i].buffer]))
      return bad_size("tensor '" + body.tensors[i].name + "' leaves its buffer of " + std::to_string(sizes.buffer_bytes[body.tensors[i].buffer]) + " bytes",
                      symbols);
    sizes.offsets[i] = sizes.offsets[i] * bits(view.dtype) / 8;
  }
  return sizes;
}

}  // namespace tuyere
