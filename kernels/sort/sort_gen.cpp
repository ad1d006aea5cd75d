// SPDX-License-Identifier: Apache-2.0
#include "kernels/sort/sort_gen.h"

#include <algorithm>

#include "kernels/codegen/types.h"

namespace tuyere::codegen {
namespace {

constexpr int kPiece = 1024;  // elements of a sorted piece of the merge sort

const char* kDefinitions = R"(
typedef $X X;
struct Item { X key; idx at; };  // at < 0: padding, last
// -1, 0, 1; NaN is larger than everything.
TGF int order(X a, X b) {
  if (a != a) return b != b ? 0 : 1;
  if (b != b) return -1;
  return a < b ? -1 : b < a ? 1 : 0;
}
TGF bool before(const Item& a, const Item& b) {
  if (a.at < 0 || b.at < 0) return b.at < 0 && a.at >= 0;
  const int c = order(a.key, b.key);
  return c != 0 ? c $cmp 0 : a.at < b.at;
}
// Sorts items[0..N-1] with the whole block.
template <int N, int THREADS> TGF void block_sort(Item* items) {
  for (int size = 2; size <= N; size *= 2)
    for (int step = size / 2; step > 0; step /= 2) {
      __syncthreads();
      for (int i = threadIdx.x; i < N / 2; i += THREADS) {
        const int low = i / step * step * 2 + i % step, high = low + step;
        const bool up = (low & size) == 0;
        const Item a = items[low], b = items[high];
        if (before(b, a) == up) { items[low] = b; items[high] = a; }
      }
    }
  __syncthreads();
}
)";

Kernel make(const std::string& name, const SortForm& f, int threads) {
  Kernel k(name, f.wide);
  k.threads = threads;
  k.define(kDefinitions, {{"X", compute_ctype(f.dtype)}, {"cmp", f.descending ? ">" : "<"}});
  return k;
}

std::string load_item(Kernel& k, const Problem& p, const SortForm& f, const std::vector<std::string>& coords, const std::string& r) {
  return fill("($in)[$o + ($r) * $stride]",
              {{"in", pointer(k, operand(p.in[0], 0), false)}, {"o", offset(k, f.lines.strides[0], coords)}, {"r", r}, {"stride", k.value(f.in_stride)}});
}

/// Stores `item` as result number r.
std::string store_item(Kernel& k, const Problem& p, const SortForm& f, const std::vector<std::string>& coords) {
  return fill("    ($v)[$vo + r * $vs] = tg_cvt<$s>(item.key);\n    ($i)[$io + r * $is] = item.at;\n", {{"v", pointer(k, operand(p.out[0], 1), true)},
                                                                                                        {"vo", offset(k, f.lines.strides[1], coords)},
                                                                                                        {"vs", k.value(f.value_stride)},
                                                                                                        {"s", storage_ctype(p.out[0].dtype)},
                                                                                                        {"i", pointer(k, operand(p.out[1], 2), true)},
                                                                                                        {"io", offset(k, f.lines.strides[2], coords)},
                                                                                                        {"is", k.value(f.index_stride)}});
}

int item_bytes(const SortForm& f) { return f.wide || size_of(compute_type(f.dtype)) == 8 ? 16 : 8; }

/// Sorts pieces of the line into the first half of the workspace.
Kernel pieces_kernel(const Problem& p, const SortForm& f, int workspace) {
  Kernel k = make("sort_pieces", f, 512);
  const Dim pieces = ceildiv(f.length, kPiece);
  k.grid[0] = numel(f.lines.size) * pieces;
  const Vars vars = {{"P", std::to_string(kPiece)}, {"n", k.value(f.length)}, {"pieces", k.value(pieces)}, {"w", k.pointer(workspace, "char", true)}};
  k.add("  __shared__ Item items[$P];\n  const idx line = tg_quot((idx)blockIdx.x, (idx)$pieces), base = ((idx)blockIdx.x - line * $pieces) * $P;\n", vars);
  const auto coords = split(k, k.body, "line", f.lines.size, "c");
  k.add(
      "  for (int i = threadIdx.x; i < $P; i += 512) {\n    Item item;\n    item.key = 0;\n    item.at = -1;\n    if (base + i < $n) { item.key = "
      "tg_cvt<X>($load); item.at = base + i; }\n    items[i] = item;\n  }\n",
      {{"P", std::to_string(kPiece)}, {"n", k.value(f.length)}, {"load", load_item(k, p, f, coords, "base + i")}});
  k.add("  block_sort<$P, 512>(items);\n  for (int i = threadIdx.x; i < $P; i += 512) if (base + i < $n) ((Item*)$w)[line * $n + base + i] = items[i];\n",
        vars);
  return k;
}

/// Merges runs of `width` elements; does nothing once a run covers the line.
Kernel merge_kernel(const SortForm& f, int workspace, int pass) {
  Kernel k = make("sort_merge" + std::to_string(pass), f, 256);
  const Dim total = numel(f.lines.size) * f.length;
  k.grid[0] = ceildiv(total, 256);
  k.add(R"(  const idx i = (idx)blockIdx.x * 256 + threadIdx.x, width = (idx)$width;
  if (width >= $n || i >= $total) return;
  const Item* const from = (const Item*)$w + $from;
  Item* const to = (Item*)$w + $to;
  const idx line = tg_quot(i, (idx)$n), r = i - line * $n, start = tg_quot(r, width * 2) * (width * 2);
  const idx middle = tg_lesser(start + width, (idx)$n), end = tg_lesser(start + width * 2, (idx)$n);
  const bool second = r >= middle;
  const Item item = from[i];
  const Item* const other = from + line * $n;
  idx low = second ? start : middle, high = second ? middle : end;
  const idx first = low;
  while (low < high) {
    const idx at = low + (high - low) / 2;
    if (before(other[at], item)) low = at + 1; else high = at;
  }
  to[line * $n + start + (r - (second ? middle : start)) + (low - first)] = item;
)",
        {{"width", k.value(Dim(static_cast<int64_t>(kPiece) << pass))},
         {"n", k.value(f.length)},
         {"total", k.value(total)},
         {"w", k.pointer(workspace, "char", true)},
         {"from", pass % 2 ? k.value(total) : "0"},
         {"to", pass % 2 ? "0" : k.value(total)}});
  return k;
}

Kernel result_kernel(const Problem& p, const SortForm& f, int workspace) {
  Kernel k = make("sort_result", f, 256);
  const Dim total = numel(f.lines.size) * f.keep;
  k.grid[0] = ceildiv(total, 256);
  k.add(R"(  const idx i = (idx)blockIdx.x * 256 + threadIdx.x;
  if (i >= $count) return;
  const idx line = tg_quot(i, (idx)$keep), r = i - line * $keep;
  bool odd = false;
  for (long long width = $P; width < $n; width *= 2) odd = !odd;
  const Item item = ((const Item*)$w)[line * $n + r + (odd ? (idx)$total : (idx)0)];
)",
        {{"count", k.value(total)},
         {"keep", k.value(f.keep.is_const(0) ? Dim(1) : f.keep)},
         {"P", std::to_string(kPiece)},
         {"n", k.value(f.length)},
         {"w", k.pointer(workspace, "char", false)},
         {"total", k.value(numel(f.lines.size) * f.length)}});
  const auto coords = split(k, k.body, "line", f.lines.size, "c");
  k.body += store_item(k, p, f, coords);
  return k;
}

}  // namespace

SortForm sort_form(const Problem& p) {
  SortForm f;
  int64_t axis = 0;
  if (const auto* topk = std::get_if<TopK>(&p.op)) {
    axis = topk->axis;
    f.descending = topk->largest;
  } else {
    axis = std::get<Sort>(p.op).axis;
    f.descending = std::get<Sort>(p.op).descending;
  }
  const TensorDesc& x = p.in[0];
  f.dtype = x.dtype;
  const Space all = make_space(x.shape, {x.strides, p.out[0].strides, p.out[1].strides});
  const int at = static_cast<int>(axis < 0 ? axis + x.rank() : axis);
  std::vector<int> kept;
  for (int d = 0; d < all.rank(); ++d)
    if (d != at) kept.push_back(d);
  if (at < all.rank()) {
    f.length = x.shape[at];
    f.keep = p.out[0].shape[at];
    f.in_stride = x.strides[at];
    f.value_stride = p.out[0].strides[at];
    f.index_stride = p.out[1].strides[at];
  }
  f.lines = select(all, kept);
  normalize(f.lines, 1, p.hints);
  const Space out = make_space(p.out[0].shape, {p.out[0].strides, p.out[1].strides});
  f.wide = needs_wide({&all}) || needs_wide({&out});
  return f;
}

int block_capacity(const SortForm& f) {
  if (!f.length.is_const()) return 0;
  int capacity = 64;
  while (capacity < f.length.value() && capacity < 8192) capacity *= 2;
  return capacity >= f.length.value() && capacity * item_bytes(f) <= 32 * 1024 ? capacity : 0;
}

Generated sort_block_kernels(const Problem& p) {
  const SortForm f = sort_form(p);
  const int capacity = block_capacity(f), threads = std::min(capacity / 2, 512);
  Kernel k = make("sort_block", f, threads);
  k.grid[0] = numel(f.lines.size);
  const auto coords = split(k, k.body, "(idx)blockIdx.x", f.lines.size, "c");
  const Vars vars = {{"P", std::to_string(capacity)},
                     {"T", std::to_string(threads)},
                     {"n", k.value(f.length)},
                     {"keep", k.value(f.keep)},
                     {"load", load_item(k, p, f, coords, "(idx)i")}};
  k.add(
      "  __shared__ Item items[$P];\n  for (int i = threadIdx.x; i < $P; i += $T) {\n    Item item;\n    item.key = 0;\n    item.at = -1;\n    if (i < $n) { "
      "item.key = tg_cvt<X>($load); item.at = i; }\n    items[i] = item;\n  }\n"
      "  block_sort<$P, $T>(items);\n  for (int i = threadIdx.x; i < $keep; i += $T) {\n    const idx r = i;\n    const Item item = items[i];\n",
      vars);
  k.body += store_item(k, p, f, coords) + "  }\n";
  return {{std::move(k)}, 0};
}

Generated sort_merge_kernels(const Problem& p) {
  const SortForm f = sort_form(p);
  const int workspace = static_cast<int>(p.in.size() + p.out.size());
  Generated out;
  out.kernels.push_back(pieces_kernel(p, f, workspace));
  for (int pass = 0; pass < 21; ++pass) {
    if (f.length.is_const() && (int64_t{kPiece} << pass) >= f.length.value()) break;
    out.kernels.push_back(merge_kernel(f, workspace, pass));
  }
  out.kernels.push_back(result_kernel(p, f, workspace));
  out.workspace = ceildiv(numel(f.lines.size) * f.length * 2 * item_bytes(f), 256) * 256;
  return out;
}

}  // namespace tuyere::codegen
