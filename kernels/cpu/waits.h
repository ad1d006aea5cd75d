// SPDX-License-Identifier: Apache-2.0
// How long the threads of a loop spin for one another.
#pragma once
#include <chrono>

namespace tuyere::cpu {

using WaitClock = std::chrono::steady_clock;

/// libgomp's threads spin for milliseconds at the start and the end of a loop. Where other programs want the cores too, that is the time in which the thread
/// they wait for could run, and every loop takes a slice of the scheduler's. While there are more of libgomp's threads than cores, they spin for a microsecond
/// (GOMP_SPINCOUNT in its manual): from the first call of this function on, a team of idle threads makes it so for some time after long waits were noted.
void watch_waits();
/// A thread worked for `work` and then waited for others of its team of `threads`. Neither allocates nor locks.
void note_wait(WaitClock::duration work, WaitClock::duration wait, int threads) noexcept;
/// The same for one that may have lost its core while it worked, to another of the team that spins: that lengthens its work.
void note_loop(WaitClock::duration work, WaitClock::duration wait, int threads) noexcept;
/// Whether waits are short now.
bool waits_are_short();

/// Notes what the thread that opens a loop waits for the others.
class LoopClock {
 public:
  void done() noexcept { done_ = WaitClock::now(); }
  void joined(int threads) const noexcept { note_loop(done_ - start_, WaitClock::now() - done_, threads); }

 private:
  WaitClock::time_point start_ = WaitClock::now(), done_ = start_;
};

}  // namespace tuyere::cpu
