// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/waits.h"

#include <omp.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <system_error>
#include <thread>

namespace tuyere::cpu {
namespace {

using namespace std::chrono_literals;

constexpr auto kLongWait = 1ms;
constexpr auto kTogether = 100ms;
constexpr int kNoAccident = 4;  // long waits this close to one another
// Short waits cost where nobody else wants the cores, too: a sleeping thread takes 50 us to wake. What does not happen again soon was no reason.
constexpr WaitClock::duration kShortestHold = 100ms, kLongestHold = 4s;
constexpr auto kSoonAgain = 1s;

std::atomic<WaitClock::rep> last_wait;
std::atomic<int> long_waits, team_size, wanted, held;

/// More threads than cores, together with the teams of those who waited.
void stay_with_idle_team(WaitClock::duration hold) {
  const int count = std::max(2, omp_get_num_procs() - team_size.load() + 2);
#pragma omp parallel num_threads(count)
  held.store(1);
  std::this_thread::sleep_for(hold);
  held.store(0);
}

/// The idle team belongs to a thread, with which it ends.
void hold_when_wanted() {
  WaitClock::duration hold = kShortestHold;
  WaitClock::time_point end{};
  for (;;) {
    wanted.wait(0);
    hold = WaitClock::now() - end < kSoonAgain ? std::min(2 * hold, kLongestHold) : kShortestHold;
    try {
      std::thread(stay_with_idle_team, hold).join();
    } catch (const std::system_error&) {  // no thread to be had: waits stay as they are
      std::this_thread::sleep_for(hold);
    }
    end = WaitClock::now();
    wanted.store(0);
  }
}

/// Whether the calling thread had to leave its core since it last asked.
bool lost_its_core() noexcept {
  thread_local long seen = std::numeric_limits<long>::max();
  rusage usage;
  if (getrusage(RUSAGE_THREAD, &usage) != 0) return false;
  const bool lost = usage.ru_nivcsw > seen;
  seen = usage.ru_nivcsw;
  return lost;
}

void note_lost_time(int threads) noexcept {
  const WaitClock::duration now = WaitClock::now().time_since_epoch();
  if (now.count() - last_wait.exchange(now.count()) > WaitClock::duration(kTogether).count()) long_waits.store(0);
  if (long_waits.fetch_add(1) + 1 < kNoAccident) return;
  team_size.store(threads);
  wanted.store(1);
  wanted.notify_one();
}

}  // namespace

void watch_waits() {
  static const bool started = [] {
    std::thread(hold_when_wanted).detach();
    return true;
  }();
  static_cast<void>(started);
}

void note_wait(WaitClock::duration work, WaitClock::duration wait, int threads) noexcept {
  if (wait >= kLongWait && wait >= work) note_lost_time(threads);
}

void note_loop(WaitClock::duration work, WaitClock::duration wait, int threads) noexcept {
  if (work + wait < kLongWait) return;
  if (lost_its_core()) return note_lost_time(threads);
  note_wait(work, wait, threads);
}

bool waits_are_short() { return held.load() != 0; }

}  // namespace tuyere::cpu
