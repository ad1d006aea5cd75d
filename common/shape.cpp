// SPDX-License-Identifier: Apache-2.0
// Lists of Dims.
#include <algorithm>

#include "common/dim.h"
#include "common/error.h"

namespace tuyere {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

Dim broadcast_dim(const Dim& a, const Dim& b, const Shape& left, const Shape& right) {
  if (a == b || b.is_const(1)) return a;
  if (a.is_const(1)) return b;
  USER_CHECK(false, "shapes " << str(left) << " and " << str(right) << " do not broadcast: " << a << " against " << b);
  return a;
}

}  // namespace

std::string str(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? "," : "") + shape[i].str();
  return text + "]";
}

Shape parse_shape(std::string_view text) {
  std::string_view inside = trimmed(text);
  USER_CHECK(inside.size() >= 2 && inside.front() == '[' && inside.back() == ']', "shape '" << text << "' is not of the form [a,b,...]");
  inside = trimmed(inside.substr(1, inside.size() - 2));
  Shape shape;
  if (inside.empty()) return shape;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i <= inside.size(); ++i) {
    if (i < inside.size()) depth += inside[i] == '(' ? 1 : inside[i] == ')' ? -1 : 0;
    if (i < inside.size() && (inside[i] != ',' || depth > 0)) continue;
    shape.push_back(Dim::parse(inside.substr(begin, i - begin)));
    begin = i + 1;
  }
  return shape;
}

Dim numel(const Shape& shape) {
  Dim count = 1;
  for (const Dim& dim : shape) count *= dim;
  return count;
}

bool is_static(const Shape& shape) {
  return std::all_of(shape.begin(), shape.end(), [](const Dim& dim) { return dim.is_const(); });
}

std::vector<int64_t> to_ints(const Shape& shape) {
  std::vector<int64_t> sizes;
  for (const Dim& dim : shape) sizes.push_back(dim.value());
  return sizes;
}

std::vector<int64_t> eval(const Shape& shape, const Symbols& symbols) {
  std::vector<int64_t> sizes;
  for (const Dim& dim : shape) sizes.push_back(dim.eval(symbols));
  return sizes;
}

std::vector<Dim> contiguous_strides(const Shape& shape) {
  std::vector<Dim> strides(shape.size());
  Dim step = 1;
  for (size_t i = shape.size(); i-- > 0; step *= shape[i]) strides[i] = step;
  return strides;
}

std::vector<int64_t> contiguous_strides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t step = 1;
  for (size_t i = shape.size(); i-- > 0; step *= shape[i]) strides[i] = step;
  return strides;
}

Shape broadcast(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    size_t from_end = out.size() - i;
    Dim x = from_end <= a.size() ? a[a.size() - from_end] : Dim(1);
    Dim y = from_end <= b.size() ? b[b.size() - from_end] : Dim(1);
    out[i] = broadcast_dim(x, y, a, b);
  }
  return out;
}

}  // namespace tuyere
