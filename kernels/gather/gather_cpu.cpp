// SPDX-License-Identifier: Apache-2.0
// own.gather.rows: whole rows by memcpy when the dims after the axis are dense on both sides (embeddings).
#include <atomic>
#include <cstring>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/reference.h"

namespace tuyere::cpu {
namespace {

bool dense_after(const View& v, int first) {
  int64_t expected = 1;
  for (int d = v.rank - 1; d >= first; --d) {
    if (v.shape[d] != 1 && v.strides[d] != expected) return false;
    expected *= v.shape[d];
  }
  return true;
}

std::unique_ptr<Executable> prepare_gather(const CpuProblem& p) {
  const View x(p.args.in[0]), index(p.args.in[1]), out(p.args.out[0]);
  const int axis = normalize_axis(attrs<Gather>(p).axis, x.rank);
  if (!dense_after(x, axis + 1) || !dense_after(out, axis + index.rank)) return prepare_kernel("reference.gather", p);
  int64_t row = element_bytes(out.dtype);
  for (int d = axis + 1; d < x.rank; ++d) row *= x.shape[d];
  const int lead_rank = axis + index.rank;
  const int64_t rows = product(lead_rank, out.shape), bytes = element_bytes(out.dtype), size = x.shape[axis];
  const int threads = threads_for(rows * row / 4);
  return executable([=](void* const* ptr) {
    std::atomic<bool> failed{false};
    std::atomic<int64_t> bad{0};
    parallel_ranges(threads, out.numel() == 0 ? 0 : rows, [&](int, int64_t begin, int64_t end) {
      Odometer o{lead_rank, out.shape, {}};
      o.seek(begin);
      for (int64_t r = begin; r < end; ++r, o.next()) {
        int64_t at = 0, from = 0, to = 0;
        for (int d = 0; d < index.rank; ++d) at += o.index[axis + d] * index.strides[d];
        for (int d = 0; d < axis; ++d) from += o.index[d] * x.strides[d];
        for (int d = 0; d < lead_rank; ++d) to += o.index[d] * out.strides[d];
        const int64_t raw = load_index(index.dtype, ptr[1], at);
        int64_t i = raw;
        if (!wrap_index(&i, size)) {
          bad = raw;
          failed = true;
          continue;
        }
        from += i * x.strides[axis];
        std::memcpy(static_cast<char*>(ptr[2]) + to * bytes, static_cast<const char*>(ptr[0]) + from * bytes, static_cast<size_t>(row));
      }
    });
    return failed ? index_error(bad, size) : Status::ok();
  });
}

}  // namespace

void add_gather_kernels(CpuKernelTable& table) { table.push_back({"own.gather.rows", prepare_gather}); }

}  // namespace tuyere::cpu
