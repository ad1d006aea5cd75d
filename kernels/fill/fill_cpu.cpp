// SPDX-License-Identifier: Apache-2.0
// own.fill.dense: one element, then copies of what is there already.
#include <cstring>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/reference.h"

namespace tuyere::cpu {
namespace {

/// Whether the elements lie side by side, in any order.
bool fills_its_memory(const View& v) {
  View rest = v;
  int64_t reach = 1;
  for (int done = 0; done < v.rank; ++done) {
    int next = -1;
    for (int d = 0; d < v.rank; ++d)
      if (rest.shape[d] != 1 && rest.strides[d] == reach) next = d;
    if (next < 0) break;
    reach *= rest.shape[next];
    rest.shape[next] = 1;
  }
  return reach == v.numel();
}

void fill_bytes(char* to, const char* element, int64_t size, int64_t count) {
  const int64_t bytes = size * count;
  bool zero = true;
  for (int64_t i = 0; i < size; ++i) zero = zero && element[i] == 0;
  if (zero) {
    std::memset(to, 0, static_cast<size_t>(bytes));
    return;
  }
  constexpr int64_t kPiece = 4096;  // grows to this, so that the source stays in the cache
  std::memcpy(to, element, static_cast<size_t>(size));
  for (int64_t done = size; done < bytes;) {
    const int64_t next = std::min({done, bytes - done, std::max(size, kPiece / size * size)});
    std::memcpy(to + done, to, static_cast<size_t>(next));
    done += next;
  }
}

std::unique_ptr<Executable> prepare_dense_fill(const CpuProblem& p) {
  const auto& op = attrs<Fill>(p);
  const View out(p.args.out[0]);
  if (!fills_its_memory(out) || op.use_dim) return prepare_kernel("reference.fill", p);
  const int64_t size = element_bytes(out.dtype), count = out.numel();
  std::array<char, 8> element{};
  store_from_double(out.dtype, element.data(), 0, op.value);
  const int threads = threads_for(count * size / 8);
  return executable([=](void* const* ptr) {
    parallel_ranges(threads, count,
                    [&](int, int64_t begin, int64_t end) { fill_bytes(static_cast<char*>(ptr[0]) + begin * size, element.data(), size, end - begin); });
  });
}

}  // namespace

void add_fill_kernels(CpuKernelTable& table) { table.push_back({"own.fill.dense", prepare_dense_fill}); }

}  // namespace tuyere::cpu
