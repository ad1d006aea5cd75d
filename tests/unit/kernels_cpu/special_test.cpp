// SPDX-License-Identifier: Apache-2.0
// Special values, accuracy, symbols and errors.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/cpu/cores.h"
#include "kernels/run/executors.h"
#include "tests/unit/kernels_cpu/harness.h"

namespace tuyere::testing_cpu {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(), kNan = std::numeric_limits<double>::quiet_NaN();

std::vector<double> pointwise(const std::string& function, const std::vector<double>& x) {
  const std::string n = std::to_string(x.size());
  const Problem p = parse_problem("pointwise program={" + function + "(i0:f32)} types=[f32] | f32[" + n + "] -> f32[" + n + "]");
  const std::vector<std::vector<double>> in{x};
  return run_tactic(find_tactic("own.pointwise.tile"), p, {}, &in)[0];
}

double ulps(double actual, double exact) {
  const float e = static_cast<float>(exact);
  const double spacing = std::nextafter(std::fabs(e), std::numeric_limits<float>::infinity()) - std::fabs(e);
  return std::fabs(actual - exact) / spacing;
}

TEST(Tile, TranscendentalFunctionsAreAccurate) {
  std::vector<double> x;
  for (double v = -12; v <= 12; v += 0.00613) x.push_back(static_cast<float>(v));
  for (double v = 12; v < 86; v *= 1.0023) x.insert(x.end(), {static_cast<float>(v), static_cast<float>(-v)});
  const std::vector<std::pair<std::string, double (*)(double)>> functions{
      {"exp", [](double v) { return std::exp(v); }},
      {"tanh", [](double v) { return std::tanh(v); }},
      {"erf", [](double v) { return std::erf(v); }},
      {"sigmoid", [](double v) { return 1 / (1 + std::exp(-v)); }},
      {"silu", [](double v) { return v / (1 + std::exp(-v)); }},
      {"softplus", [](double v) { return std::log1p(std::exp(v)); }},
      {"sin", [](double v) { return std::sin(v); }},
      {"cos", [](double v) { return std::cos(v); }},
  };
  for (const auto& [name, exact] : functions) {
    const std::vector<double> y = pointwise(name, x);
    double worst = 0, at = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double u = ulps(y[i], exact(x[i]));
      if (u > worst) worst = u, at = x[i];
    }
    EXPECT_LE(worst, name == "softplus" ? 4 : 3) << name << " at " << at;
  }
}

TEST(Tile, SineHoldsOverManyPeriods) {
  std::vector<double> x;
  for (double v = 3; v < 60000; v *= 1.0007) x.insert(x.end(), {static_cast<float>(v), static_cast<float>(-v)});
  const std::vector<double> sine = pointwise("sin", x), cosine = pointwise("cos", x);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_NEAR(sine[i], std::sin(x[i]), 1.5e-7) << x[i];
    EXPECT_NEAR(cosine[i], std::cos(x[i]), 1.5e-7) << x[i];
  }
}

TEST(Tile, PowersAreAccurateAndFollowLibm) {
  std::vector<double> x, y;
  for (double v : {1e-40, 3e-5, 0.3, 0.75, 0.99999, 1.0, 1.4999, 1.5, 7.0, 1e5, 3e38}) {
    for (double e = -7.3; e < 8; e += 0.37) x.push_back(static_cast<float>(v)), y.push_back(static_cast<float>(e));
  }
  for (double v : {0.0, -0.0, -2.0, 1.0, 2.0, kInf, -kInf, kNan}) {
    for (double e : {0.0, 1.0, -1.0, 3.0, 0.5, kInf, -kInf, kNan}) x.push_back(v), y.push_back(e);
  }
  const std::string n = std::to_string(x.size());
  const Problem p = parse_problem("pointwise program={pow(i0:f32, i1:f32)} types=[f32] | f32[" + n + "], f32[" + n + "] -> f32[" + n + "]");
  const std::vector<std::vector<double>> in{x, y};
  const std::vector<double> r = run_tactic(find_tactic("own.pointwise.tile"), p, {}, &in)[0];
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = std::pow(x[i], y[i]);
    const auto rounded = static_cast<double>(static_cast<float>(exact));
    const bool same = r[i] == rounded || (std::isnan(r[i]) && std::isnan(exact));
    EXPECT_TRUE(same || std::fabs(r[i] - exact) <= 1e-7 * std::fabs(exact) + 1.5e-45) << x[i] << "^" << y[i] << " = " << r[i];
  }
}

TEST(Tile, SpecialValuesFollowLibm) {
  const std::vector<double> x{kInf, -kInf, kNan, 0, 1e38, -1e38, 100, -100, 88.7, -103};
  const auto same = [](double a, double e) { return (std::isnan(a) && std::isnan(e)) || a == e || std::fabs(a - e) <= 1e-5 * std::fabs(e); };
  const std::vector<std::pair<std::string, double (*)(double)>> functions{
      {"exp", [](double v) { return static_cast<double>(std::exp(static_cast<float>(v))); }},
      {"log", [](double v) { return std::log(v); }},
      {"tanh", [](double v) { return std::tanh(v); }},
      {"erf", [](double v) { return std::erf(v); }},
      {"sqrt", [](double v) { return std::sqrt(v); }},
      {"sin", [](double v) { return std::sin(v); }},
      {"relu", [](double v) { return std::isnan(v) ? v : std::max(v, 0.0); }},
      {"sigmoid", [](double v) { return v < -80 ? 0 : 1 / (1 + std::exp(-v)); }},
      {"silu", [](double v) { return v == -kInf ? kNan
                                     : v < -80  ? 0
                                                : v / (1 + std::exp(-v)); }},
      {"hardsigmoid", [](double v) { return std::isnan(v) ? v : std::min(std::max(v / 6 + 0.5, 0.0), 1.0); }},
      {"hardswish", [](double v) { return v * std::min(std::max(v / 6 + 0.5, 0.0), 1.0); }},
  };
  for (const auto& [name, exact] : functions) {
    const std::vector<double> y = pointwise(name, x);
    for (size_t i = 0; i < x.size(); ++i) {
      const double e = exact(static_cast<double>(static_cast<float>(x[i])));
      EXPECT_TRUE(same(y[i], e) || (std::fabs(e) < 1e-37 && std::fabs(y[i]) < 1e-37)) << name << "(" << x[i] << ") = " << y[i] << ", expected " << e;
    }
  }
}

TEST(Tile, ClampPropagatesNan) {
  const std::vector<std::vector<double>> in{{1, -1, kNan, 1, 1, -kInf, kInf, 9, 5}, {0, 0, 0, kNan, 0, -kInf, 0, 3, 3}, {2, 2, 2, 2, kNan, 2, kInf, 4, 2}};
  const auto y = run_tactic(find_tactic("own.pointwise.tile"),
                            parse_problem("pointwise program={clamp(i0:f32, i1:f32, i2:f32)} types=[f32] | f32[9], f32[9], f32[9] -> f32[9]"), {}, &in)[0];
  for (size_t k : {2, 3, 4}) EXPECT_TRUE(std::isnan(y[k])) << k;
  EXPECT_EQ(y[0], 1);
  EXPECT_EQ(y[1], 0);
  EXPECT_EQ(y[5], -kInf);
  EXPECT_EQ(y[6], kInf);
  EXPECT_EQ(y[7], 4);
  EXPECT_EQ(y[8], 2);
}

TEST(Tile, SoftmaxOfMinusInfinityIsNan) {
  const Problem p = parse_problem("softmax axis=-1 | f32[2,3] -> f32[2,3]");
  const std::vector<std::vector<double>> in{{-kInf, -kInf, -kInf, -kInf, 0, 0}};
  for (const char* name : {"own.softmax.tile", "reference.softmax"}) {
    const auto y = run_tactic(find_tactic(name), p, {}, &in)[0];
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(std::isnan(y[i])) << name;
    EXPECT_EQ(y[3], 0) << name;
    EXPECT_NEAR(y[4], 0.5, 1e-6) << name;
  }
}

TEST(Tile, MaxPropagatesNan) {
  const Problem p = parse_problem("reduce kind=max axes=[1] | f32[2,40] -> f32[2]");
  std::vector<double> x(80, 1.0);
  x[7] = kNan;
  const std::vector<std::vector<double>> in{x};
  const auto y = run_tactic(find_tactic("own.reduce.tile"), p, {}, &in)[0];
  EXPECT_TRUE(std::isnan(y[0]));
  EXPECT_EQ(y[1], 1);
}

std::vector<std::vector<double>> run(const std::string& tactic, const std::string& problem, const std::vector<double>& x) {
  const std::vector<std::vector<double>> in{x};
  return run_tactic(find_tactic(tactic), parse_problem(problem), {}, &in);
}

TEST(Nan, FirstWinsInArgReduce) {
  const std::vector<double> x{1, 5, kNan, 9, kNan, kInf, 3, 3, -kInf, 3};
  for (const char* name : {"own.arg_reduce.tile", "reference.arg_reduce"}) {
    EXPECT_EQ(run(name, "arg_reduce kind=argmax axis=1 | f32[2,5] -> i64[2]", x)[0], (std::vector<double>{2, 0})) << name;
    EXPECT_EQ(run(name, "arg_reduce kind=argmin axis=1 | f32[2,5] -> i64[2]", x)[0], (std::vector<double>{2, 3})) << name;
  }
}

TEST(Nan, IsGreatestInSortAndTopK) {
  const std::vector<double> x{1, kNan, -0.0, kInf, 0, -kInf};
  for (const char* source : {"own.sort.keys", "reference.sort"}) {
    EXPECT_EQ(run(source, "sort axis=0 | f32[6] -> f32[6], i64[6]", x)[1], (std::vector<double>{5, 2, 4, 0, 3, 1})) << source;
    EXPECT_EQ(run(source, "sort axis=0 descending=true | f32[6] -> f32[6], i64[6]", x)[1], (std::vector<double>{1, 3, 0, 2, 4, 5})) << source;
  }
  EXPECT_EQ(run("own.topk.keys", "topk k=1 axis=0 | f32[6] -> f32[1], i64[1]", x)[1], (std::vector<double>{1}));
}

TEST(Nan, StaysInMaxPoolingAndSoftmax) {
  for (const char* name : {"own.pool.windows", "reference.pool"}) {
    const auto y = run(name, "pool kind=max kernel=[2] stride=[2] pad=[0] dilation=[1] | f32[1,1,6] -> f32[1,1,3]", {kNan, 1, 2, kNan, -kInf, -kInf})[0];
    EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1])) << name;
    EXPECT_EQ(y[2], -kInf) << name;
    const std::string places = "pool kind=max kernel=[2] stride=[2] pad=[0] dilation=[1] with_indices=true | f32[1,1,6] -> f32[1,1,3], i64[1,1,3]";
    EXPECT_EQ(run(name, places, {kNan, 1, 2, kNan, -kInf, -kInf})[1], (std::vector<double>{0, 3, 4})) << name;
  }
  for (const char* axis : {"0", "1"}) {  // along and across the dense dim
    const std::string problem = std::string("softmax axis=") + axis + " | f32[9,9] -> f32[9,9]";
    std::vector<double> x(81, 1.0);
    x[0] = kNan;
    const auto y = run("own.softmax.tile", problem, x)[0];
    for (int i = 0; i < 9; ++i) {
      EXPECT_TRUE(std::isnan(y[*axis == '0' ? 9 * i : i])) << i;
      EXPECT_NEAR(y[*axis == '0' ? 9 * i + 1 : 9 + i], 1.0 / 9, 1e-6) << i;
    }
  }
}

TEST(Fill, SymbolsEnterTheData) {
  const auto iota = run_tactic(find_tactic("reference.iota"), parse_problem("iota count=n start=m step=2 |  -> i64[n] | m=5 n=4"), {});
  ASSERT_EQ(iota.size(), 1u);
  EXPECT_EQ(iota[0], (std::vector<double>{5, 7, 9, 11}));
  const auto fill = run_tactic(find_tactic("reference.fill"), parse_problem("fill type=i64 shape=[2] use_dim=true dim=n |  -> i64[2] | n=9"), {});
  ASSERT_EQ(fill.size(), 1u);
  EXPECT_EQ(fill[0], (std::vector<double>{9, 9}));
}

TEST(Cores, QuotasOfControlGroups) {
  EXPECT_EQ(cpu::cores_of_quota("max 100000\n"), 0);
  EXPECT_EQ(cpu::cores_of_quota("-1\n 100000\n"), 0);
  EXPECT_EQ(cpu::cores_of_quota(" "), 0);
  EXPECT_EQ(cpu::cores_of_quota("200000 100000\n"), 2);
  EXPECT_EQ(cpu::cores_of_quota("250000 100000\n"), 3);
  EXPECT_EQ(cpu::cores_of_quota("5000 100000"), 1);
}

TEST(Errors, UnknownKernelIsNamed) {
  StepSpec spec;
  spec.executor = "cpu";
  spec.attrs = R"({"kernel": "own.nothing", "op": "softmax"})";
  auto executor = find_executor("cpu");
  ASSERT_TRUE(executor.is_ok()) << executor.status().message();
  const auto prepared = (*executor)->prepare(spec, {});
  ASSERT_FALSE(prepared.is_ok());
  EXPECT_NE(prepared.status().message().find("own.nothing"), std::string::npos) << prepared.status().message();
}

// Several blocks of queries and keys. The weights of random logsumexps do not add up to one, so that the sums over them are large.
TEST(AttentionGradient, Blocks) {
  for (const char* text :
       {"attention_gradient scale=0.2 | f32[2,3,100,20]{6000,20,60,1}, f32[2,3,100,24], f32[2,3,140,24], f32[2,3,140,20], f32[2,3,100,20], "
        "f32[2,3,100]{300,1,3} -> "
        "f32[2,3,100,24]{7200,24,72,1}, f32[2,3,140,24], f32[2,3,140,20]",
        "attention_gradient scale=0.2 causal=true | f32[1,2,300,32], f32[1,2,300,32], f32[1,2,300,32], f32[1,2,300,32], f32[1,2,300,32], f32[1,2,300] -> "
        "f32[1,2,300,32], f32[1,2,300,32], f32[1,2,300,32]"}) {
    check_against_reference(text, {.tolerance = 2e-4});
  }
}

}  // namespace
}  // namespace tuyere::testing_cpu
