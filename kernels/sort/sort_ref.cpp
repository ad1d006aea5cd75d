// SPDX-License-Identifier: Apache-2.0
// Sort and top-k along one axis: one line at a time through (value, index) pairs.
#include <algorithm>

#include "kernels/cpu/reference.h"

namespace tuyere::cpu {
namespace {

struct Entry {
  double value;
  int64_t index;
};

struct SortLines {
  View x, values, indices, lines;
  int axis;
  int64_t length, keep;
  bool descending;
  std::vector<Entry> line;

  SortLines(const CpuProblem& p, int64_t raw_axis, bool largest_first)
      : x(p.args.in[0]), values(p.args.out[0]), indices(p.args.out[1]), lines(x), axis(normalize_axis(raw_axis, x.rank)), descending(largest_first) {
    length = x.rank ? x.shape[axis] : 1;
    keep = x.rank ? values.shape[axis] : 1;
    USER_CHECK(keep <= length, "top " << keep << " of " << length << " elements");
    if (x.rank) lines.shape[axis] = std::min<int64_t>(1, length);
    line.resize(static_cast<size_t>(length));
  }

  // Ties are broken by the index, which makes an unstable, allocation-free sort stable.
  bool before(const Entry& a, const Entry& b) const {
    const int c = compare_nan_last(a.value, b.value);
    if (c != 0) return descending ? c > 0 : c < 0;
    return a.index < b.index;
  }

  void operator()(void* const* ptr) {
    const auto order = [this](const Entry& a, const Entry& b) { return before(a, b); };
    const int64_t bytes = bits(x.dtype) / 8;
    for_each_index(lines.rank, lines.shape, [&](const Ix& at) {
      Ix i = at;
      for (int64_t j = 0; j < length; ++j) {
        i[axis] = j;
        line[j] = {x.load(ptr[0], i), j};
      }
      std::partial_sort(line.begin(), line.begin() + keep, line.end(), order);
      for (int64_t j = 0; j < keep; ++j) {
        i[axis] = line[j].index;
        const int64_t from = x.offset(i);
        i[axis] = j;
        copy_element(ptr[1], values.offset(i), ptr[0], from, bytes);
        static_cast<int64_t*>(ptr[2])[indices.offset(i)] = line[j].index;
      }
    });
  }
};

std::unique_ptr<Executable> prepare_topk(const CpuProblem& p) {
  const auto& op = attrs<TopK>(p);
  return executable(SortLines(p, op.axis, op.largest));
}

std::unique_ptr<Executable> prepare_sort(const CpuProblem& p) {
  const auto& op = attrs<Sort>(p);
  return executable(SortLines(p, op.axis, op.descending));
}

}  // namespace

void add_sort_references(CpuKernelTable& table) {
  table.push_back({"reference.topk", prepare_topk});
  table.push_back({"reference.sort", prepare_sort});
}

}  // namespace tuyere::cpu
