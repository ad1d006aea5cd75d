// SPDX-License-Identifier: Apache-2.0
#include "converters/strides.h"

#include <algorithm>
#include <numeric>
#include <string>

namespace tuyere {
namespace {

/// Every symbol has the same large value: good for ordering strides, which differ by factors of sizes.
int64_t sample(const Dim& dim) {
  std::vector<std::string> names;
  dim.collect(names);
  Symbols symbols;
  for (const std::string& name : names) symbols.set(name, 97);
  return dim.eval(symbols);
}

/// Whether the strides lay out `sizes` densely in this order. The stride of a dimension of size 1 does not matter.
bool is_dense(const Shape& sizes, const std::vector<Dim>& strides, const std::vector<int>& order) {
  Dim expected = 1;
  for (size_t k = order.size(); k-- > 0;) {
    if (sizes[order[k]].is_const(1)) continue;
    if (strides[order[k]] != expected) return false;
    expected *= sizes[order[k]];
  }
  return true;
}

}  // namespace

std::optional<std::vector<int>> memory_order(const Shape& sizes, const std::vector<Dim>& strides, const std::vector<std::vector<int>>& preferred) {
  std::vector<int> row_major(sizes.size());
  std::iota(row_major.begin(), row_major.end(), 0);
  for (const std::vector<int>& order : preferred)
    if (is_dense(sizes, strides, order.empty() ? row_major : order)) return order;
  std::vector<int> order = row_major;
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    if (sizes[a].is_const(1) != sizes[b].is_const(1)) return sizes[a].is_const(1);
    return sample(strides[a]) > sample(strides[b]);
  });
  if (!is_dense(sizes, strides, order)) return std::nullopt;
  return order;
}

std::vector<int> order_of_strides(const Shape& sizes, const std::vector<Dim>& strides) {
  std::vector<int> order(sizes.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    const int64_t first = sample(strides[a]), second = sample(strides[b]);
    return first != second ? first > second : !sizes[a].is_const(1) && sizes[b].is_const(1);
  });
  return order;
}

}  // namespace tuyere
