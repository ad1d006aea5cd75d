// SPDX-License-Identifier: Apache-2.0
// Problems that are alike: which are asked first, and what the others try.
#include "core/builder/alike.h"

#include <gtest/gtest.h>

#include "core/builder/candidates.h"
#include "core/builder/choose.h"
#include "kernels/api/tactics.h"

namespace tuyere {
namespace {

std::vector<int> leaders_of(const std::vector<std::string>& texts) {
  std::vector<Problem> problems;
  std::vector<const Problem*> pointers;
  for (const std::string& text : texts) problems.push_back(parse_problem(text));
  for (const Problem& problem : problems) pointers.push_back(&problem);
  return find_leaders(pointers);
}

std::string product(int m, int k, int n) {
  const std::string a = std::to_string(m), b = std::to_string(k), c = std::to_string(n);
  return "matmul | f32[" + a + "," + b + "], const f32[" + b + "," + c + "] -> f32[" + a + "," + c + "]";
}

TEST(Alike, OneInTheMiddleStandsForItsNeighbours) {
  // 96 reaches 144 at most, which reaches 96 to 216.
  EXPECT_EQ(leaders_of({product(64, 96, 64), product(64, 120, 64), product(64, 144, 64), product(64, 216, 64), product(64, 240, 64)}),
            (std::vector<int>{2, 2, 2, 2, 4}));
  EXPECT_EQ(leaders_of({product(64, 96, 64), product(64, 120, 64), product(64, 144, 64)}), (std::vector<int>{0, 1, 2})) << "three are no crowd";
  EXPECT_EQ(leaders_of({product(64, 240, 64), product(64, 96, 64)}), (std::vector<int>{0, 1}));
}

TEST(Alike, NumbersThatAreNoneEqualNothing) {
  const std::string fill = "pad before=[1] after=[1] value=nan | f32[64] -> f32[66]";
  EXPECT_EQ(leaders_of({fill, fill, fill, fill}), (std::vector<int>{0, 1, 2, 3}));
}

TEST(Alike, OtherProblemsAreNot) {
  const std::string one = product(64, 96, 64), two = product(64, 104, 64), three = product(64, 112, 64);
  EXPECT_EQ(leaders_of({one, two, three, product(64, 120, 64)}), (std::vector<int>{3, 3, 3, 3}));
  for (const std::string& other :
       {product(64, 100, 64),  // no multiple of a vector
        product(1, 96, 64), std::string("matmul | f16[64,96], const f16[96,64] -> f16[64,64]"), std::string("matmul | f32[64,96], f32[96,64] -> f32[64,64]"),
        std::string("matmul | f32[64,96]{1,64}, const f32[96,64] -> f32[64,64]"), std::string("matmul | f32[64,96]@4, const f32[96,64] -> f32[64,64]"),
        std::string("matmul epilogue={relu(i0:f32)} | f32[64,96], const f32[96,64] -> f32[64,64]")}) {
    EXPECT_EQ(leaders_of({one, two, three, other}), (std::vector<int>{0, 1, 2, 3})) << other;
  }
}

struct FollowTest : ::testing::Test {
  /// Times of the leader are known: its `fastest` candidate takes 1 us, the others 100. The larger product leads.
  std::vector<Choice> choose_at(int level, const Candidate& fastest, ChooseStats& stats) {
    TimingCache cache("here");
    BuilderConfig config;
    config.optimization_level = level;
    for (const Candidate& c : candidates(leader, level)) {
      const bool first = c.tactic == fastest.tactic && c.config == fastest.config;
      cache.add(key(leader), {std::string(c.tactic->name()), c.config, first ? 1.0 : 100.0});
    }
    const std::vector<Choice> all =
        choose({leader, follower, parse_problem(product(64, 72, 64)), parse_problem(product(64, 88, 64))}, target, config, cache, stats);
    return {all.begin(), all.begin() + 2};
  }
  std::vector<Candidate> candidates(const Problem& problem, int level) { return find_candidates(problem, target, list, {}, level).list; }

  Target target = find_target("cpu");
  Problem leader = parse_problem(product(64, 96, 64)), follower = parse_problem(product(64, 80, 64));
  const TacticList& list = tactics(leader.op, target);
};

TEST_F(FollowTest, TriesWhatWasFastForItsLeader) {
  const std::vector<Candidate> all = candidates(leader, 3);
  ASSERT_GT(all.size(), 1u);
  for (const Candidate& fastest : {all.front(), all.back()}) {
    ChooseStats stats;
    const std::vector<Choice> choices = choose_at(3, fastest, stats);
    EXPECT_EQ(choices[1].tactic, fastest.tactic->name());
    EXPECT_EQ(choices[1].tactic, choices[0].tactic);
    EXPECT_EQ(stats.timed, 0) << "one candidate needs no race";
  }
}

TEST_F(FollowTest, HighLevelsAskAll) {
  ChooseStats stats;
  choose_at(4, candidates(leader, 4).front(), stats);
  EXPECT_EQ(stats.timed, 3 * static_cast<int>(candidates(follower, 4).size()));
}

}  // namespace
}  // namespace tuyere
