// SPDX-License-Identifier: Apache-2.0
// Values of constants and of small views of them.
#include "core/network/network.h"

namespace tuyere {
namespace {

constexpr int64_t kMostViewed = 4096;  // elements of a view that are worth listing

std::vector<double> load(const Constant& constant, const TensorType& type) {
  if (!constant.data) return {};
  std::vector<double> values(numel(type.shape).value());
  for (size_t k = 0; k < values.size(); ++k) values[k] = load_as_double(type.dtype, constant.data->data(), static_cast<int64_t>(k));
  return values;
}

/// A view as strides and an offset (elements) over its row-major input.
struct View {
  std::vector<int64_t> strides;
  int64_t offset = 0;
};

bool view_of(const Op& op, const std::vector<int64_t>& in, size_t out_rank, View& view) {
  const std::vector<int64_t> strides = contiguous_strides(in);
  if (const Permute* permute = std::get_if<Permute>(&op)) {
    for (int64_t axis : permute->perm) view.strides.push_back(strides[axis]);
    return true;
  }
  if (std::holds_alternative<Expand>(op)) {
    view.strides.assign(out_rank, 0);
    for (size_t k = 0; k < in.size(); ++k)
      if (in[k] != 1) view.strides[out_rank - in.size() + k] = strides[k];
    return true;
  }
  const Slice* slice = std::get_if<Slice>(&op);
  if (!slice || !slice->start.is_const()) return false;
  view.strides = strides;
  view.strides[slice->axis] *= slice->step;
  view.offset = strides[slice->axis] * slice->start.value();
  return true;
}

std::vector<double> read_view(const View& view, const std::vector<int64_t>& shape, const std::vector<double>& from, int64_t count) {
  std::vector<double> values(count);
  for (int64_t k = 0; k < count; ++k) {
    int64_t at = view.offset, rest = k;
    for (size_t d = shape.size(); d-- > 0; rest /= shape[d]) at += rest % shape[d] * view.strides[d];
    values[k] = from[at];
  }
  return values;
}

}  // namespace

std::vector<double> Network::constant_values(TensorId id, int body) const {
  const Tensor& tensor = this->tensor(id, body);
  if (tensor.constant >= 0) return load(constants[tensor.constant], tensor.type);
  const Layer* layer = producer(id, body);
  if (!layer || group(layer->op) != OpGroup::view || !is_static(tensor.type.shape)) return {};
  const int64_t count = numel(tensor.type.shape).value();
  const Shape& source = type(layer->inputs[0], body).shape;
  if (count > kMostViewed || !is_static(source)) return {};
  std::vector<double> from = constant_values(layer->inputs[0], body);
  if (from.empty() || std::holds_alternative<Reshape>(layer->op)) return from;
  View view;
  if (!view_of(layer->op, to_ints(source), tensor.type.shape.size(), view)) return {};
  return read_view(view, to_ints(tensor.type.shape), from, count);
}

}  // namespace tuyere
