// SPDX-License-Identifier: Apache-2.0
// Splitting work over the OpenMP threads of the process (the pool that oneDNN and PyTorch use too).
#pragma once
#include <omp.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>

#include "kernels/cpu/waits.h"

namespace tuyere::cpu {

/// Threads worth starting for `cost` element operations: small problems stay serial.
inline int threads_for(int64_t cost, int64_t grain = 32768) {
  return static_cast<int>(std::clamp<int64_t>(cost / grain, 1, std::max(1, omp_get_max_threads())));
}

struct WorkRange {
  int64_t begin = 0, end = 0;
};

/// [0, work) in pieces, each given out once. Every thread has a share of neighbouring pieces, which it takes in order; a thread that is done takes the last
/// pieces of others, so that one on a slow or busy core holds nobody up for longer than a piece.
class SharedWork {
 public:
  SharedWork(int threads, int64_t work) : work_(work), shares_(std::min<int64_t>(threads, kMostShares)), pieces_(std::min(work, shares_ * kPieces)) {
    for (int64_t s = 0; s < shares_; ++s) left_[s].pieces.store(pack(pieces_ * s / shares_, pieces_ * (s + 1) / shares_), std::memory_order_relaxed);
  }

  /// False when nothing is left.
  bool take(int thread, WorkRange& range) {
    for (int64_t k = 0; k < shares_; ++k) {
      const int64_t piece = take_piece(left_[(thread + k) % shares_].pieces, k == 0);
      if (piece < 0) continue;
      range = {work_ * piece / pieces_, work_ * (piece + 1) / pieces_};
      return true;
    }
    return false;
  }

 private:
  static constexpr int64_t kMostShares = 16;
  static constexpr int64_t kPieces = 4;  // of a share

  struct alignas(64) Share {
    std::atomic<uint64_t> pieces;
  };

  static uint64_t pack(int64_t first, int64_t last) { return static_cast<uint64_t>(first) << 32 | static_cast<uint64_t>(last); }

  static int64_t take_piece(std::atomic<uint64_t>& pieces, bool first_one) {
    uint64_t seen = pieces.load(std::memory_order_relaxed);
    for (;;) {
      const auto first = static_cast<int64_t>(seen >> 32), last = static_cast<int64_t>(seen & 0xffffffff);
      if (first >= last) return -1;
      const uint64_t rest = first_one ? pack(first + 1, last) : pack(first, last - 1);
      if (pieces.compare_exchange_weak(seen, rest, std::memory_order_relaxed)) return first_one ? first : last - 1;
    }
  }

  int64_t work_, shares_, pieces_;
  std::array<Share, kMostShares> left_;
};

/// Calls f(thread, begin, end) until [0, work) is covered; thread < threads. A thread may be called several times, for ranges that do not depend on who takes
/// them: what it writes must depend on the range only.
template <class F>
void parallel_ranges(int threads, int64_t work, const F& f) {
  if (threads <= 1 || work <= 1) {
    if (work > 0) f(0, int64_t{0}, work);
    return;
  }
  SharedWork shared(threads, work);
  LoopClock clock;
#pragma omp parallel num_threads(threads)
  {
    const int me = omp_get_thread_num();
    for (WorkRange range; shared.take(me, range);) f(me, range.begin, range.end);
    if (me == 0) clock.done();
  }
  clock.joined(threads);
}

/// Calls f(part, begin, end) once for each of at most `parts` equal parts of [0, work): for sums by part, and for work whose memory is best read from end to
/// end.
template <class F>
void parallel_parts(int parts, int64_t work, const F& f) {
  if (parts <= 1 || work <= 1) {
    if (work > 0) f(0, int64_t{0}, work);
    return;
  }
  const int64_t count = std::min<int64_t>(parts, work);
  LoopClock clock;
#pragma omp parallel num_threads(static_cast <int>(count))
  {
    for (int64_t part = omp_get_thread_num(); part < count; part += omp_get_num_threads())
      f(static_cast<int>(part), work * part / count, work * (part + 1) / count);
    if (omp_get_thread_num() == 0) clock.done();
  }
  clock.joined(parts);
}

}  // namespace tuyere::cpu
