// SPDX-License-Identifier: Apache-2.0
#include "kernels/codegen/map.h"

#include <algorithm>

#include "kernels/codegen/types.h"

namespace tuyere::codegen {

std::vector<std::string> begin_map(Kernel& kernel, std::vector<Dim> size, int vec) {
  if (vec > 1) size.back() = floordiv(size.back(), vec);
  kernel.grid[0] = ceildiv(numel(size), kernel.threads);
  kernel.add("  const idx i = (idx)blockIdx.x * $T + threadIdx.x;\n  if (i >= $n) return;\n",
             {{"T", std::to_string(kernel.threads)}, {"n", kernel.value(numel(size))}});
  std::vector<std::string> coords = split(kernel, kernel.body, "i", size, "c");
  if (vec > 1) {
    kernel.add("    const idx cv = $c * $v;\n", {{"c", coords.back()}, {"v", std::to_string(vec)}});
    coords.back() = "cv";
  }
  return coords;
}

int map_threads(int64_t count, const Target& target) {
  int threads = 256;
  while (threads > 64 && count / threads < 2 * std::max(target.multiprocessors, 1)) threads /= 2;
  return threads;
}

int64_t count_at_hints(const std::vector<Dim>& size, const Symbols& hints) {
  int64_t n = 1;
  for (const Dim& d : size) n *= std::max<int64_t>(hint(d, hints), 1);
  return n;
}

int widest_vector(const Space& space, const std::vector<Operand>& ops) {
  if (space.rank() == 0) return 1;
  int largest = 1;
  for (const Operand& op : ops) largest = std::max(largest, size_of(op.dtype));
  for (int vec = 16 / largest; vec > 1; vec /= 2) {
    bool ok = divisible(space.size.back(), vec);
    for (size_t t = 0; t < ops.size() && ok; ++t) {
      const auto& strides = space.strides[t];
      ok = strides.back().is_const(1) && ops[t].alignment % std::min(16, vec * size_of(ops[t].dtype)) == 0;
      for (size_t d = 0; d + 1 < strides.size(); ++d) ok = ok && divisible(strides[d], vec);
    }
    if (ok) return vec;
  }
  return 1;
}

}  // namespace tuyere::codegen
