// SPDX-License-Identifier: Apache-2.0
#include "common/host_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

namespace tuyere {

void* allocate_host(size_t bytes) noexcept {
  constexpr size_t kAlignment = 256, kHugePage = size_t{1} << 21;
  const size_t rounded = (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  void* memory = nullptr;
  if (::posix_memalign(&memory, rounded >= kHugePage ? kHugePage : kAlignment, rounded) != 0) return nullptr;
#ifdef MADV_HUGEPAGE
  // Whole huge pages only: the rest of the last one may belong to others. Small pages that an earlier owner left behind would stay, so they go.
  const size_t whole = rounded / kHugePage * kHugePage;
  if (whole > 0 && ::madvise(memory, whole, MADV_HUGEPAGE) == 0) ::madvise(memory, whole, MADV_DONTNEED);
#endif
  return memory;
}

}  // namespace tuyere
