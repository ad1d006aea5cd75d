// SPDX-License-Identifier: Apache-2.0
#include "core/builder/strides.h"

#include "common/error.h"

namespace tuyere {
namespace {

Dim padded(const Dim& size, int64_t multiple) { return multiple == 1 ? size : ceildiv(size, Dim(multiple)) * Dim(multiple); }

int order_at(const Layout& layout, int i) { return layout.order.empty() ? i : layout.order[i]; }

/// Groups dims of `from` that are one dense run, innermost first, and covers each run by dims of `to`.
std::optional<std::vector<Dim>> match_runs(const Shape& from, const std::vector<Dim>& strides, const Shape& to) {
  std::vector<Dim> result(to.size(), Dim(1));
  int t = static_cast<int>(to.size()) - 1;
  Dim run = 1, covered = 1, base = strides.empty() ? Dim(1) : strides.back();
  for (int f = static_cast<int>(from.size()) - 1; f >= 0; --f) {
    run *= from[f];
    if (f > 0 && strides[f - 1] == run * base) continue;
    while (t >= 0 && (covered != run || to[t].is_const(1))) {
      result[t] = covered * base;
      covered *= to[t--];
    }
    if (covered != run) return std::nullopt;
    if (f > 0) base = strides[f - 1];
    run = covered = 1;
  }
  for (; t >= 0; --t) {
    if (!to[t].is_const(1)) return std::nullopt;
  }
  return result;
}

View expand_view(const Shape& in, const View& input, const Shape& out) {
  View view{std::vector<Dim>(out.size(), Dim(0)), input.offset};
  size_t lead = out.size() - in.size();
  for (size_t i = 0; i < in.size(); ++i) {
    bool repeated = in[i].is_const(1) && !out[lead + i].is_const(1);
    view.strides[lead + i] = repeated ? Dim(0) : input.strides[i];
  }
  return view;
}

View slice_view(const Slice& slice, const View& input) {
  View view = input;
  size_t axis = slice.axis < 0 ? slice.axis + input.strides.size() : slice.axis;
  view.offset += slice.start * input.strides[axis];
  view.strides[axis] *= Dim(slice.step);
  return view;
}

View permute_view(const Permute& permute, const View& input) {
  View view{{}, input.offset};
  for (int64_t from : permute.perm) view.strides.push_back(input.strides[from < 0 ? from + input.strides.size() : from]);
  return view;
}

}  // namespace

std::vector<Dim> layout_strides(const Shape& shape, const Layout& layout) {
  INTERNAL_CHECK(layout.vector_width == 1, "blocked layouts have no strides");
  INTERNAL_CHECK(layout.order.empty() || layout.order.size() == shape.size(), "layout " << str(layout) << " on shape " << str(shape));
  std::vector<Dim> strides(shape.size());
  Dim stride = 1;
  for (int i = static_cast<int>(shape.size()) - 1; i >= 0; --i) {
    int dim = order_at(layout, i);
    strides[dim] = stride;
    stride *= i + 1 == static_cast<int>(shape.size()) ? padded(shape[dim], layout.channel_padding) : shape[dim];
  }
  return strides;
}

Dim layout_elements(const Shape& shape, const Layout& layout) {
  if (shape.empty()) return 1;
  int outermost = order_at(layout, 0);
  Dim size = shape.size() == 1 ? padded(shape[outermost], layout.channel_padding) : shape[outermost];
  return layout_strides(shape, layout)[outermost] * size;
}

bool same_strides(const Shape& shape, const std::vector<Dim>& a, const std::vector<Dim>& b) {
  if (a.size() != shape.size() || b.size() != shape.size()) return false;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (!shape[i].is_const(1) && a[i] != b[i]) return false;
  }
  return true;
}

std::optional<std::vector<Dim>> reshape_strides(const Shape& from, const std::vector<Dim>& strides, const Shape& to) {
  if (same_strides(from, strides, contiguous_strides(from))) return contiguous_strides(to);
  if (numel(from).is_const(0)) return contiguous_strides(to);
  Shape sizes;
  std::vector<Dim> kept;
  for (size_t i = 0; i < from.size(); ++i) {
    if (from[i].is_const(1)) continue;
    sizes.push_back(from[i]);
    kept.push_back(strides[i]);
  }
  return match_runs(sizes, kept, to);
}

std::optional<View> view_of(const Op& op, const Shape& in, const View& input, const Shape& out) {
  if (const auto* slice = std::get_if<Slice>(&op)) return slice_view(*slice, input);
  if (const auto* permute = std::get_if<Permute>(&op)) return permute_view(*permute, input);
  if (std::holds_alternative<Expand>(op)) return expand_view(in, input, out);
  INTERNAL_CHECK(std::holds_alternative<Reshape>(op), "no view: " << str(op));
  auto strides = reshape_strides(in, input.strides, out);
  if (!strides) return std::nullopt;
  return View{*strides, input.offset};
}

std::optional<View> view_before(const Op& op, const Shape& in, const View& output, const Shape& out) {
  if (const auto* permute = std::get_if<Permute>(&op)) {
    View view{std::vector<Dim>(in.size()), output.offset};
    for (size_t to = 0; to < permute->perm.size(); ++to) {
      const int64_t from = permute->perm[to];
      view.strides[static_cast<size_t>(from < 0 ? from + static_cast<int64_t>(in.size()) : from)] = output.strides[to];
    }
    return view;
  }
  return view_of(op, out, output, in);  // a Reshape goes both ways
}

}  // namespace tuyere
