// SPDX-License-Identifier: Apache-2.0
// Choices that are checked in their network: what is taken, what the cache decides, and rehearsals on the CPU.
#include "core/builder/whole_network.h"

#include <gtest/gtest.h>

#include "core/builder/rehearsal.h"
#include "kernels/api/tactics.h"

namespace tuyere {
namespace {

/// Every step of a choice takes what a table says about its tactic, in this network.
class Table : public NetworkTimer {
 public:
  explicit Table(std::map<std::string, double> micros) : micros_(std::move(micros)) {}
  Result<std::pair<double, double>> compare(const std::vector<Choice>& a, const std::vector<Choice>& b) override {
    ++compared;
    return std::pair{sum(a), sum(b)};
  }
  int compared = 0;

 private:
  double sum(const std::vector<Choice>& choices) const {
    double all = 0;
    for (const Choice& choice : choices) {
      EXPECT_EQ(choice.spec.executor, choice.tactic) << "a step of another kernel";
      all += micros_.at(choice.tactic);
    }
    return all;
  }
  std::map<std::string, double> micros_;
};

struct WholeNetworkTest : ::testing::Test {
  void SetUp() override {
    const std::string large = "matmul trans_b=true type=f32 | f32[64,32], const f32[16,32] -> f32[64,16]";
    for (const std::string& text : {large, std::string("softmax axis=1 | f32[64,16] -> f32[64,16]"), large}) problems.push_back(parse_problem(text));
    for (size_t i : {0, 1, 2}) choices.push_back(choice(i == 1 ? "own.softmax" : "own.matmul", i == 1 ? 5 : 10));
    for (size_t i : {0, 2}) choices[i].runners_up = {{"cublaslt.matmul", "a", 11}, {"own.other", "b", 12}};
    check.make = [](const Problem&, const TimedCandidate& candidate) -> Result<StepSpec> {
      if (candidate.tactic == "own.other") return Status(Code::FailedPrecondition, "needs workspace");
      return choice(candidate.tactic, 0).spec;
    };
  }
  static Choice choice(const std::string& tactic, double micros) {
    StepSpec spec;
    spec.executor = tactic;
    return {tactic, "", spec, micros, {}, {}};
  }
  std::vector<std::string> tactics_now() const {
    std::vector<std::string> names;
    for (const Choice& choice : choices) names.push_back(choice.tactic);
    return names;
  }
  std::vector<Problem> problems;
  std::vector<Choice> choices;
  NetworkCheck check;
  TimingCache cache{"H200"};
  const std::vector<std::string> before{"own.matmul", "own.softmax", "own.matmul"}, after{"cublaslt.matmul", "own.softmax", "cublaslt.matmul"};
};

TEST_F(WholeNetworkTest, TakesWhatIsFasterThere) {
  Table timer({{"own.matmul", 14}, {"own.softmax", 5}, {"cublaslt.matmul", 12}});
  check.timer = &timer;
  EXPECT_EQ(check_in_network(problems, choices, check, cache), 1);  // the other runner-up cannot be made
  EXPECT_EQ(tactics_now(), after);
  EXPECT_EQ(choices[0].config, "a");
}

TEST_F(WholeNetworkTest, KeepsWhatIsNotBeaten) {
  Table timer({{"own.matmul", 12}, {"own.softmax", 5}, {"cublaslt.matmul", 12}});
  check.timer = &timer;
  check_in_network(problems, choices, check, cache);
  EXPECT_EQ(timer.compared, 1);
  EXPECT_EQ(tactics_now(), before);
}

TEST_F(WholeNetworkTest, DecidesAlikeWithTheSameCache) {
  const std::vector<Choice> first = choices;
  Table timer({{"own.matmul", 14}, {"own.softmax", 5}, {"cublaslt.matmul", 12}});
  check.timer = &timer;
  check_in_network(problems, choices, check, cache);
  choices = first;
  Table other_day({{"own.matmul", 12}, {"own.softmax", 5}, {"cublaslt.matmul", 14}});
  check.timer = &other_day;
  EXPECT_EQ(check_in_network(problems, choices, check, cache), 0);
  EXPECT_EQ(tactics_now(), after);
  choices = first;
  check.timer = nullptr;  // the device is not here
  EXPECT_EQ(check_in_network(problems, choices, check, cache), 0);
  EXPECT_EQ(tactics_now(), after);
}

TEST_F(WholeNetworkTest, NothingIsKnown) {
  EXPECT_EQ(check_in_network(problems, choices, check, cache), 0);
  EXPECT_EQ(tactics_now(), before);
}

/// Makes each step by the tactic of this name.
std::vector<Choice> cast(const std::vector<Problem>& problems, const std::vector<std::string>& names) {
  std::vector<Choice> choices;
  for (size_t i = 0; i < problems.size(); ++i)
    for (const auto& tactic : cpu_tactics(problems[i].op))
      if (tactic->name() == names[i]) choices.push_back({names[i], "", tactic->make(problems[i], Target(), ""), 1, {}, {}});
  EXPECT_EQ(choices.size(), problems.size());
  return choices;
}

TEST(Rehearsal, RunsTheBodyWithEitherChoice) {
  // So little that one thread does it: a second one may wait for its core.
  const std::string rows = "softmax axis=1 | f32[n,1024] -> f32[n,1024] | n=2";
  const std::vector<Problem> problems{parse_problem(rows), parse_problem("gather | const f32[100,1024], i64[n] -> f32[n,1024] | n=2"), parse_problem(rows)};
  const auto rehearsal = make_rehearsal(problems, Target());
  const auto slow = cast(problems, {"reference.softmax", "own.gather.rows", "reference.softmax"});
  const auto fast = cast(problems, {"own.softmax.tile", "own.gather.rows", "own.softmax.tile"});
  int slower = 0;
  for (int turn = 0; turn < 5; ++turn) {  // all but the first find everything prepared
    auto micros = rehearsal->compare(slow, fast);
    ASSERT_TRUE(micros.is_ok()) << micros.status().message();
    EXPECT_GT(micros->second, 0);
    slower += micros->first > micros->second;
  }
  EXPECT_GE(slower, 2) << "one step at a time is slower than whole vectors, on a busy machine too";
}

}  // namespace
}  // namespace tuyere
