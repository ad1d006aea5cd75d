// SPDX-License-Identifier: Apache-2.0
#include "kernels/codegen/space.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "common/error.h"
#include "kernels/codegen/types.h"

namespace tuyere::codegen {

Operand operand(const TensorDesc& desc, int position, const Dim& offset) {
  Operand out{position, desc.dtype, offset, desc.alignment};
  if (!offset.is_const(0)) out.alignment = std::min(desc.alignment, known_divisor(offset, 256) * size_of(desc.dtype));
  return out;
}

std::vector<Dim> broadcast_strides(const TensorDesc& desc, const Shape& shape) {
  INTERNAL_CHECK(desc.shape.size() <= shape.size(), "operand of rank " << desc.shape.size() << " over rank " << shape.size());
  const size_t lead = shape.size() - desc.shape.size();
  std::vector<Dim> out(shape.size(), Dim(0));
  for (size_t d = 0; d < desc.shape.size(); ++d)
    if (!desc.shape[d].is_const(1)) out[lead + d] = desc.strides[d];
  return out;
}

Space make_space(const Shape& shape, const std::vector<std::vector<Dim>>& strides) {
  for (const auto& s : strides) INTERNAL_CHECK(s.size() == shape.size(), "strides of another rank");
  return Space{shape, strides};
}

Space select(const Space& space, const std::vector<int>& dims) {
  Space out;
  out.strides.resize(space.strides.size());
  for (int d : dims) {
    out.size.push_back(space.size[d]);
    for (size_t t = 0; t < space.strides.size(); ++t) out.strides[t].push_back(space.strides[t][d]);
  }
  return out;
}

void drop_unit_dims(Space& space) {
  std::vector<int> keep;
  for (int d = 0; d < space.rank(); ++d)
    if (!space.size[d].is_const(1)) keep.push_back(d);
  space = select(space, keep);
}

int64_t hint(const Dim& d, const Symbols& hints) {
  int64_t v = 0;
  return d.try_eval(hints, &v) ? v : 64;
}

void sort_dims(Space& space, int by, const Symbols& hints) {
  std::vector<int> order(space.rank());
  std::iota(order.begin(), order.end(), 0);
  std::vector<int> tensors{by};
  for (int t = 0; t < static_cast<int>(space.strides.size()); ++t)
    if (t != by) tensors.push_back(t);
  auto before = [&](int a, int b) {
    for (int t : tensors) {
      const int64_t sa = std::llabs(hint(space.strides[t][a], hints)), sb = std::llabs(hint(space.strides[t][b], hints));
      if (sa != sb && (t == by || (sa != 0 && sb != 0))) return sa > sb;
      if (t == by && sa != 0) return false;
    }
    return false;
  };
  // A few dims: insertion keeps the order of equals and needs no strict weak ordering across different tie-break tensors.
  for (size_t i = 1; i < order.size(); ++i)
    for (size_t j = i; j > 0 && before(order[j], order[j - 1]); --j) std::swap(order[j], order[j - 1]);
  space = select(space, order);
}

void collapse(Space& space) {
  for (int d = space.rank() - 2; d >= 0; --d) {
    const bool joins = std::all_of(space.strides.begin(), space.strides.end(), [&](const auto& s) { return s[d] == s[d + 1] * space.size[d + 1]; });
    if (!joins) continue;
    space.size[d + 1] = space.size[d] * space.size[d + 1];
    space.size.erase(space.size.begin() + d);
    for (auto& s : space.strides) s.erase(s.begin() + d);
  }
}

void normalize(Space& space, int by, const Symbols& hints) {
  drop_unit_dims(space);
  sort_dims(space, by, hints);
  collapse(space);
}

bool divisible(const Dim& d, int by) {
  if (by == 1) return true;
  if (d.is_const()) return d.value() % by == 0;
  return mod(d, by).is_const(0);
}

int known_divisor(const Dim& d, int limit) {
  int v = 1;
  while (v * 2 <= limit && divisible(d, v * 2)) v *= 2;
  return v;
}

bool needs_wide(const std::vector<const Space*>& spaces) {
  constexpr int64_t kLimit = int64_t{1} << 30;
  size_t tensors = 0;
  __int128 total = 1;
  for (const Space* space : spaces) {
    tensors = std::max(tensors, space->strides.size());
    if (!is_static(space->size)) return true;
    for (const Dim& d : space->size) total *= std::max<int64_t>(d.value(), 1);
  }
  if (total > kLimit) return true;
  for (size_t t = 0; t < tensors; ++t) {
    __int128 reach = 0;
    for (const Space* space : spaces) {
      if (t >= space->strides.size()) continue;
      for (int d = 0; d < space->rank(); ++d) {
        if (!space->strides[t][d].is_const()) return true;
        reach += static_cast<__int128>(std::llabs(space->strides[t][d].value())) * std::max<int64_t>(space->size[d].value() - 1, 0);
      }
    }
    if (reach > kLimit) return true;
  }
  return false;
}

std::vector<std::string> split(Kernel& kernel, std::string& code, const std::string& linear, const std::vector<Dim>& size, const std::string& prefix) {
  std::vector<std::string> names;
  for (size_t d = 0; d < size.size(); ++d) names.push_back(prefix + std::to_string(d));
  if (size.empty()) return names;
  std::string rest = linear;
  for (size_t d = size.size() - 1; d > 0; --d) {
    const std::string n = kernel.value(size[d].is_const(0) ? Dim(1) : size[d]);
    const std::string q = prefix + "q" + std::to_string(d);
    code += fill("    const idx $q = tg_quot((idx)($rest), (idx)$n), $c = (idx)($rest) - $q * $n;\n", {{"q", q}, {"rest", rest}, {"n", n}, {"c", names[d]}});
    rest = q;
  }
  code += fill("    const idx $c = $rest;\n", {{"c", names[0]}, {"rest", rest}});
  return names;
}

std::string offset(Kernel& kernel, const std::vector<Dim>& strides, const std::vector<std::string>& coords) {
  std::string out;
  for (size_t d = 0; d < strides.size(); ++d) {
    if (strides[d].is_const(0)) continue;
    out += (out.empty() ? "" : " + ") + coords[d] + (strides[d].is_const(1) ? "" : " * " + kernel.value(strides[d]));
  }
  return out.empty() ? "(idx)0" : "(" + out + ")";
}

std::string pointer(Kernel& kernel, const Operand& op, bool writes) {
  return kernel.pointer(op.position, storage_ctype(op.dtype), writes, op.offset * size_of(op.dtype));
}

}  // namespace tuyere::codegen
