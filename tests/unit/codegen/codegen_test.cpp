// SPDX-License-Identifier: Apache-2.0
// Generated kernels of the listed problems: values on the emulator, machine code by NVRTC. TUYERE_TEST_ALL=1 takes every problem, tactic and
// configuration instead of the quick sample; TUYERE_TEST_ONLY=<text> those whose problem or tactic holds the text.
#include <gtest/gtest.h>

#include <cstdlib>

#include "common/error.h"
#include "kernels/codegen/types.h"
#include "kernels/jit/nvrtc.h"
#include "tests/unit/codegen/harness.h"

namespace tuyere {
namespace {

using testing::listed_problems;
using testing::own_tactics;

const Target kHopper{Target::Kind::Cuda, 90, 132, "", 50 << 20, 3000, 989, 0, false};

bool everything() { return std::getenv("TUYERE_TEST_ALL") != nullptr; }

bool wanted(const testing::ListedProblem& problem, std::string_view tactic) {
  if (const char* only = std::getenv("TUYERE_TEST_ONLY")) return problem.text.find(only) != std::string::npos || tactic.find(only) != std::string::npos;
  return everything() || problem.sample;
}

template <class F>
void for_each_candidate(const Target& target, F f) {
  for (const auto& listed : listed_problems()) {
    SCOPED_TRACE(listed.text);
    try {
      const Problem problem = parse_problem(listed.text);
      const auto tactics = own_tactics(problem, target);
      EXPECT_FALSE(tactics.empty());
      for (const auto* tactic : tactics) {
        if (!wanted(listed, tactic->name())) continue;
        SCOPED_TRACE(tactic->name());
        for (const Config& config : tactic->configs(problem, target, everything() ? 5 : 0)) {
          SCOPED_TRACE(config);
          f(problem, *tactic, config);
        }
        if (!everything() && !std::getenv("TUYERE_TEST_ONLY")) break;
      }
    } catch (const Error& e) {
      ADD_FAILURE() << e.what();
    }
  }
}

TEST(Codegen, MatchesTheReference) {
  for_each_candidate(kHopper, [](const Problem& problem, const codegen::CudaTactic& tactic, const Config& config) {
    EXPECT_EQ(testing::compare_with_reference(problem, tactic, kHopper, config), "");
  });
}

/// Configurations that small problems have where a device is small, or that only few of many show.
TEST(Codegen, ConfigurationsOfLargeTensorsMatchTheReference) {
  struct Case {
    const char *problem, *tactic, *config;
  };
  constexpr Case kCases[] = {
      {"reduce axes=[0] type=f16 | f16[4099,72] -> f16[72]", "own.reduce.column", " cluster="},
      {"arg_reduce axis=0 kind=argmin | bf16[4099,72] -> i64[72]", "own.reduce.column", " cluster="},
      {"arg_reduce axis=0 | f32[2053,36] -> i64[36]", "own.reduce.column", "split=8 unroll=4 chunks=1"},
      {"arg_reduce axis=1 | f16[9,2056] -> i64[9]", "own.reduce.row", "ty=16 split=1 unroll=8"},
      {"permute perm=[0,2,1] | f16[2,200,136] -> f16[2,136,200]", "own.layout.transpose", "packed=1"},
      {"permute perm=[1,0] | f32[132,100] -> f32[100,132]", "own.layout.transpose", "band=8 packed=1"},
  };
  Target small = kHopper;
  small.multiprocessors = 2;
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.problem);
    const Problem problem = parse_problem(c.problem);
    int met = 0;
    for (const auto* tactic : own_tactics(problem, small))
      for (const Config& config : tactic->configs(problem, small, 5)) {
        if (tactic->name() != c.tactic || config.find(c.config) == std::string::npos) continue;
        ++met;
        EXPECT_EQ(testing::compare_with_reference(problem, *tactic, small, config), "") << config;
      }
    EXPECT_GT(met, 0) << c.config;
  }
}

TEST(Codegen, EveryConfigurationHasAnEstimate) {
  for (const auto& listed : listed_problems()) {
    SCOPED_TRACE(listed.text);
    const Problem problem = parse_problem(listed.text);
    for (const auto* tactic : own_tactics(problem, kHopper))
      for (const Config& config : tactic->configs(problem, kHopper, 5))
        EXPECT_GT(tactic->estimate(problem, kHopper, config), 0.0) << tactic->name() << " " << config;
  }
}

TEST(Codegen, Compiles) {
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  const std::vector<int> architectures = everything() ? std::vector<int>{80, 90, 100} : std::vector<int>{90};
  for (int sm : architectures) {
    Target target = kHopper;
    target.sm = sm;
    for_each_candidate(target, [&](const Problem& problem, const codegen::CudaTactic& tactic, const Config& config) {
      if (codegen::is_empty(problem)) return;
      const std::string source = codegen::rough_text(problem) + codegen::source(tactic.generate(problem, target, config));
      EXPECT_GT(compile_uncached(source, target.arch(), {}).size(), 0u);
    });
  }
}

/// One kernel that computes every function that exists for `type`; integers are made odd, because nothing says what a division by zero gives.
Problem every_function(DType type) {
  Program p;
  p.inputs = {type, type, type};
  std::vector<int> args = {0, 1, 2};
  const int one = p.constant(1, type), condition = p.cast(0, DType::Bool);
  if (!is_float(type))
    for (int& arg : args) arg = p.add(Fn::bitwise_or, {arg, one});
  std::string types, outputs;
  for (int f = 0; f < static_cast<int>(Fn::constant); ++f) {
    const FnInfo& fn = info(static_cast<Fn>(f));
    const std::string_view result = fn.result;
    if (is_float(type) ? std::string_view(fn.name).starts_with("bitwise_") : result == "real") continue;
    std::vector<int> own(args.begin(), args.begin() + fn.arity);
    if (static_cast<Fn>(f) == Fn::where) own[0] = condition;
    p.outputs.push_back(static_cast<int16_t>(p.add(static_cast<Fn>(f), own)));
    const std::string out(name(result == "bool" ? DType::Bool : type)), comma = types.empty() ? "" : ", ";
    types += comma + out;
    outputs += comma + out + "[37]{2}";  // no vectors: less to compile
  }
  const std::string in = std::string(name(type)) + "[37]{2}";
  return parse_problem("pointwise program={" + str(p) + "} types=[" + types + "] | " + in + ", " + in + ", " + in + " -> " + outputs);
}

TEST(Codegen, EveryFunction) {
  for (DType type : {DType::F32, DType::I64}) {  // others take many seconds to compile
    SCOPED_TRACE(name(type));
    const Problem problem = every_function(type);
    const auto& tactic = *own_tactics(problem, kHopper).front();
    EXPECT_EQ(testing::compare_with_reference(problem, tactic, kHopper, ""), "");
    if (has_nvrtc()) {
      EXPECT_GT(compile_uncached(codegen::source(tactic.generate(problem, kHopper, "")), "sm_90a", {}).size(), 0u);
    }
  }
}

TEST(Codegen, EveryKernelHasAProblem) {
  std::set<std::string_view> missing = testing::own_names();
  for (const auto& listed : listed_problems())
    for (const auto* tactic : own_tactics(parse_problem(listed.text), kHopper)) missing.erase(tactic->name());
  for (std::string_view name : missing) ADD_FAILURE() << name << " is not tested: add a problem that it takes to tests/kernels_gpu/problems_*.txt";
}

TEST(Codegen, LargeTensorsUse64BitIndices) {
  const Problem small = parse_problem("pointwise program={relu(i0:f32)} types=[f32] | f32[1000,1000] -> f32[1000,1000]");
  const Problem large = parse_problem("pointwise program={relu(i0:f32)} types=[f32] | f32[50000,50000] -> f32[50000,50000]");
  const auto* tactic = own_tactics(small, kHopper).back();
  EXPECT_FALSE(tactic->generate(small, kHopper, "").kernels[0].wide());
  EXPECT_TRUE(tactic->generate(large, kHopper, "").kernels[0].wide());
}

TEST(Codegen, CompileErrorsQuoteTheSource) {
  if (!has_nvrtc()) GTEST_SKIP() << "no NVRTC";
  try {
    compile_uncached("extern \"C\" __global__ void k() {\n  nonsense;\n}\n", "sm_90a", {});
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("2 |   nonsense;"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace tuyere
