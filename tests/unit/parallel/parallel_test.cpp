// SPDX-License-Identifier: Apache-2.0
// Loops shared by threads: every part of the work is done once, nobody is held up by one slow thread, and waits get short beside other programs.
#include "kernels/cpu/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

namespace tuyere::cpu {
namespace {

using namespace std::chrono_literals;

template <class F>
bool within(std::chrono::seconds limit, const F& holds) {
  for (const auto end = std::chrono::steady_clock::now() + limit; std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(1ms)) {
    if (holds()) return true;
  }
  return holds();
}

TEST(Parallel, WorkIsGivenOutOnceInTheSameRanges) {
  for (const int threads : {2, 3, 4, 40}) {
    for (const int64_t work : {2, 3, 7, 64, 1000}) {
      std::set<std::pair<int64_t, int64_t>> in_turns, by_one;
      SharedWork first(threads, work), second(threads, work);
      WorkRange range;
      for (int taker = 0; first.take(taker % threads, range); ++taker) EXPECT_TRUE(in_turns.insert({range.begin, range.end}).second);
      while (second.take(threads - 1, range)) EXPECT_TRUE(by_one.insert({range.begin, range.end}).second);
      EXPECT_EQ(in_turns, by_one) << threads << " threads, work " << work;
      int64_t at = 0;
      for (const auto& [begin, end] : in_turns) {
        EXPECT_EQ(begin, at);
        EXPECT_LT(begin, end);
        at = end;
      }
      EXPECT_EQ(at, work);
    }
  }
}

TEST(Parallel, SharesAreTakenInOrderAndThoseOfOthersFromTheEnd) {
  SharedWork work(2, 80);
  std::vector<int64_t> begins;
  for (WorkRange range; work.take(1, range);) begins.push_back(range.begin);
  EXPECT_EQ(begins, (std::vector<int64_t>{40, 50, 60, 70, 30, 20, 10, 0}));
}

TEST(Parallel, OneThreadThatStandsStillHoldsUpItsPieceOnly) {
  constexpr int64_t kWork = 800;
  std::atomic<int64_t> done{0};
  std::atomic<bool> stands{false}, rest_is_done{false};
  parallel_ranges(2, kWork, [&](int, int64_t begin, int64_t end) {
    if (!stands.exchange(true)) rest_is_done = within(20s, [&] { return done == kWork - (end - begin); });
    done += end - begin;
  });
  EXPECT_TRUE(rest_is_done);
  EXPECT_EQ(done, kWork);
}

TEST(Parallel, MoreThreadsThanCoresAndSeveralCallersAtOnce) {
  constexpr int64_t kWork = 1013;
  const auto call = [&](int threads, bool parts) {
    std::vector<int> visits(kWork);
    std::vector<int64_t> sums(static_cast<size_t>(threads));
    const auto visit = [&](int, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
    };
    const auto add = [&](int part, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) sums[static_cast<size_t>(part)] += i;
    };
    for (int repeat = 0; repeat < 50; ++repeat) {
      if (parts) {
        parallel_parts(threads, kWork, add);
      } else {
        parallel_ranges(threads, kWork, visit);
      }
    }
    if (parts) return std::accumulate(sums.begin(), sums.end(), int64_t{0}) == 50 * (kWork * (kWork - 1) / 2);
    return std::all_of(visits.begin(), visits.end(), [](int n) { return n == 50; });
  };
  std::atomic<int> good{0};
  std::vector<std::thread> callers;
  for (int threads = 1; threads <= 4; ++threads) callers.emplace_back([&, threads] { good += call(threads, false) + call(threads, true); });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(good, 8);
}

TEST(Parallel, PartsDoNotDependOnWhoRunsThem) {
  std::vector<std::pair<int64_t, int64_t>> parts(3);
  parallel_parts(3, 100, [&](int part, int64_t begin, int64_t end) { parts[static_cast<size_t>(part)] = {begin, end}; });
  EXPECT_EQ(parts, (std::vector<std::pair<int64_t, int64_t>>{{0, 33}, {33, 66}, {66, 100}}));
}

TEST(Waits, GetShortAfterLongOnesForSomeTime) {
  watch_waits();
  ASSERT_TRUE(within(20s, [] {  // loops of other tests may have lost their cores, too
    for (int look = 0; look < 30; ++look, std::this_thread::sleep_for(10ms))
      if (waits_are_short()) return false;
    return true;
  }));
  for (int repeat = 0; repeat < 20; ++repeat) {
    note_wait(100us, 900us, 2);  // not long
    note_wait(20ms, 5ms, 2);     // less than the work
  }
  std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(waits_are_short());
  EXPECT_TRUE(within(20s, [] {
    note_wait(100us, 5ms, 2);
    return waits_are_short();
  }));
  EXPECT_TRUE(within(20s, [] { return !waits_are_short(); }));
}

}  // namespace
}  // namespace tuyere::cpu
