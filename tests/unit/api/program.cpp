// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/program.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <sstream>

#include "common/error.h"

namespace tuyere {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(), kNaN = std::numeric_limits<double>::quiet_NaN();

Program P(std::string_view text) { return parse_program(text); }

double run(const Program& p, std::vector<double> in) {
  std::vector<double> out(std::max<size_t>(p.outputs.size(), 1));
  evaluate(p, in.data(), out.data());
  return out[0];
}
double run(std::string_view text, std::vector<double> in) { return run(P(text), std::move(in)); }

/// Equal, NaN equal to NaN.
bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

constexpr DType kCompute[] = {DType::F32, DType::F64, DType::I32, DType::I64, DType::Bool};

bool defined(Fn fn, DType type) { return !(is_float(type) && fn >= Fn::bitwise_and && fn <= Fn::bitwise_not); }

/// A valid program over all functions: arguments are cast to one type where needed.
Program random_program(std::mt19937& rng, int instructions) {
  auto pick = [&](size_t n) { return static_cast<int>(rng() % n); };
  Program p;
  for (int k = 0, n = 1 + pick(3); k < n; ++k) p.inputs.push_back(kCompute[pick(5)]);
  while (static_cast<int>(p.body.size()) < instructions) {
    Fn fn = static_cast<Fn>(pick(static_cast<size_t>(Fn::cast) + 1));
    int count = static_cast<int>(p.inputs.size() + p.body.size());
    DType type = kCompute[pick(5)];
    if (fn == Fn::constant) {
      p.constant(pick(9) - 4 + (is_float(type) ? 0.25 : 0), type);
    } else if (fn == Fn::cast) {
      p.cast(pick(static_cast<size_t>(count)), static_cast<DType>(pick(13)));
    } else if (defined(fn, type)) {
      std::vector<int> args;
      for (int k = 0; k < info(fn).arity; ++k) {
        int arg = pick(static_cast<size_t>(count));
        DType wanted = fn == Fn::where && k == 0 ? DType::Bool : type;
        args.push_back(compute_type(p.type_of(arg)) == wanted ? arg : p.cast(arg, wanted));
      }
      p.add(fn, args);
    }
  }
  for (int k = 0, n = 1 + pick(3); k < n; ++k) p.outputs.push_back(static_cast<int16_t>(pick(p.inputs.size() + p.body.size())));
  return p;
}

std::vector<double> random_inputs(std::mt19937& rng, const Program& p) {
  std::vector<double> in;
  for (DType type : p.inputs) {
    double v = static_cast<double>(static_cast<int>(rng() % 4001) - 2000) / 250;
    in.push_back(type == DType::Bool ? v > 0 : is_float(type) ? v : std::trunc(v));
    if (type == DType::F32) in.back() = static_cast<float>(in.back());
  }
  return in;
}

std::vector<double> outputs(const Program& p, const std::vector<double>& in) {
  std::vector<double> out(p.outputs.size());
  evaluate(p, in.data(), out.data());
  return out;
}

void expect_same(const std::vector<double>& got, const std::vector<double>& want, const std::string& text) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t k = 0; k < got.size(); ++k) ASSERT_TRUE(same(got[k], want[k])) << got[k] << " against " << want[k] << " in " << text;
}

TEST(Program, EveryFunctionEvaluatesForEveryType) {
  for (int f = 0; f < static_cast<int>(Fn::constant); ++f)
    for (DType type : kCompute) {
      Fn fn = static_cast<Fn>(f);
      std::vector<DType> in(static_cast<size_t>(info(fn).arity), type);
      if (defined(fn, type))
        run(single(fn, in), {1, 0, 1});
      else
        EXPECT_THROW(run(single(fn, in), {1, 0, 1}), Error) << info(fn).name;
    }
}

TEST(Program, PyTorchSemantics) {
  EXPECT_EQ(run("remainder(i0:f32, i1:f32)", {-7, 3}), 2);
  EXPECT_EQ(run("remainder(i0:i32, i1:i32)", {7, -3}), -2);
  EXPECT_EQ(run("fmod(i0:i32, i1:i32)", {-7, 3}), -1);
  EXPECT_EQ(run("floor_div(i0:i64, i1:i64)", {-7, 2}), -4);
  EXPECT_EQ(run("floor_div(i0:f32, i1:f32)", {-7, 2}), -4);
  EXPECT_EQ(run("trunc_div(i0:f32, i1:f32)", {-7, 2}), -3);
  EXPECT_EQ(run("div(i0:i32, i1:i32)", {1, 0}), 0);
  EXPECT_EQ(run("remainder(i0:i32, i1:i32)", {-2147483648.0, -1}), 0);
  EXPECT_EQ(run("pow(i0:i64, i1:i64)", {-3, 3}), -27);
  EXPECT_EQ(run("pow(i0:i32, i1:i32)", {-1, -3}), -1);
  EXPECT_EQ(run("pow(i0:i32, i1:i32)", {2, -1}), 0);
  for (const char* text : {"max(i0:f32, i1:f32)", "min(i0:f32, i1:f32)", "min(i1:f32, i0:f32)", "max(i1:f32, i0:f32)"})
    EXPECT_TRUE(std::isnan(run(text, {kNaN, 1}))) << text;
  EXPECT_TRUE(std::isnan(run("relu(i0:f32)", {kNaN})));
  EXPECT_TRUE(std::isnan(run("clamp(i0:f32, 0:f32, 6:f32)", {kNaN})));
  EXPECT_EQ(run("clamp(i0:f32, 3:f32, 1:f32)", {5}), 1);
  EXPECT_EQ(run("round(i0:f32)", {2.5}), 2);
  EXPECT_EQ(run("add(i0:i32, i1:i32)", {2147483647, 1}), -2147483648.0);
  EXPECT_EQ(run("add(i0:bool, i1:bool)", {1, 1}), 1);
  EXPECT_EQ(run("bitwise_not(i0:bool)", {1}), 0);
  EXPECT_EQ(run("bitwise_not(i0:i32)", {5}), -6);
  EXPECT_EQ(run("where(i0:bool, i1:f32, i2:f32)", {0, 2, 3}), 3);
  EXPECT_EQ(run("sqrt(i0:i32)", {17}), 4);
  EXPECT_EQ(run("add(i0:f32, i1:f32)", {16777216, 1}), 16777216);  // rounded to float
  EXPECT_EQ(run("isinf(i0:f32)", {-kInf}), 1);
  EXPECT_NEAR(run("gelu_erf(i0:f64)", {1}), 0.8413447460685429, 1e-15);
  EXPECT_NEAR(run("silu(i0:f64)", {1}), 0.7310585786300049, 1e-15);
  EXPECT_NEAR(run("hardswish(i0:f64)", {1}), 4.0 / 6, 1e-15);
  EXPECT_EQ(run("softplus(i0:f64)", {30}), 30);
}

TEST(Program, Casts) {
  EXPECT_EQ(run("cast(i0:f32, f16)", {2049}), 2048);
  EXPECT_EQ(run("cast(i0:f32, u8)", {-1}), 255);
  EXPECT_EQ(run("cast(i0:i32, i8)", {200}), -56);
  EXPECT_EQ(run("cast(i0:f32, i32)", {3e9}), 2147483647);
  EXPECT_EQ(run("cast(i0:i64, i32)", {4294967297.0}), 1);
  EXPECT_EQ(run("cast(i0:f32, bool)", {kNaN}), 1);
  EXPECT_EQ(run("cast(i0:f32, i64)", {kNaN}), 0);
  EXPECT_EQ(run("cast(i0:f32, f8e4m3)", {1000}), 448);
}

TEST(Program, Text) {
  Program p;
  p.inputs = {DType::F32, DType::F32};
  p.outputs = {static_cast<int16_t>(p.add(Fn::relu, {p.add(Fn::add, {0, 1})}))};
  EXPECT_EQ(str(p), "relu(add(i0:f32, i1:f32))");
  p.outputs.push_back(2);
  EXPECT_EQ(str(p), "i0:f32, i1:f32 -> v2 = add(i0, i1); v3 = relu(v2); v3, v2");
  EXPECT_EQ(P(str(p)), p);
  EXPECT_EQ(str(Program{}), "");
  EXPECT_EQ(P(""), Program{});
  EXPECT_EQ(str(P("mul(i0:f32,sigmoid(i0))")), "mul(i0:f32, sigmoid(i0))");
  EXPECT_EQ(str(P("clamp(i0:f32, -inf:f32, 0.1:f32)")), "clamp(i0:f32, -inf:f32, 0.1:f32)");
  EXPECT_TRUE(P("i0:f32").is_identity());
  EXPECT_EQ(P("i0:f32, i1:i64 -> "), (Program{{DType::F32, DType::I64}, {}, {}}));
  for (const char* bad : {"relu(i0)", "foo(i0:f32)", "relu(i0:f32", "add(i0:f32)", "relu(i1:f32)", "i0:f33", "-> v3", "1.5", "relu(i0:f32) x"})
    EXPECT_THROW(P(bad), Error) << bad;
}

TEST(Program, RandomProgramsRoundTripAndSimplify) {
  std::mt19937 rng(5);
  for (int round = 0; round < 1500; ++round) {
    Program p = random_program(rng, 1 + round % 14);
    ASSERT_EQ(P(str(p)), p) << str(p);
    Program s = simplify(p);
    ASSERT_EQ(s.inputs, p.inputs);
    ASSERT_LE(s.body.size(), p.body.size());
    ASSERT_EQ(str(simplify(s)), str(s));
    for (int trial = 0; trial < 3; ++trial) {
      std::vector<double> in = random_inputs(rng, p);
      expect_same(outputs(s, in), outputs(p, in), str(p));
    }
  }
}

TEST(Program, SimplifyShrinks) {
  EXPECT_EQ(str(simplify(P("cast(mul(cast(i0:f32, f32), 1:f32), f32)"))), "i0:f32");
  EXPECT_EQ(str(simplify(P("add(i0:f32, mul(2:f32, 3:f32))"))), "add(i0:f32, 6:f32)");
  EXPECT_EQ(str(simplify(P("add(relu(i0:f32), relu(i0))"))), "i0:f32 -> v1 = relu(i0); v2 = add(v1, v1); v2");
  EXPECT_EQ(str(simplify(P("cast(cast(i0:f32, f16), f16)"))), "cast(i0:f32, f16)");
}

TEST(Program, ComposeAgreesWithEvaluation) {
  std::mt19937 rng(9);
  for (int round = 0; round < 500; ++round) {
    Program outer = random_program(rng, 1 + round % 6), inner = random_program(rng, 1 + round % 5);
    size_t slot = rng() % outer.inputs.size(), out = rng() % inner.outputs.size();
    inner.outputs[out] = static_cast<int16_t>(inner.cast(inner.outputs[out], outer.inputs[slot]));
    Program both = compose(outer, static_cast<int>(slot), inner, static_cast<int>(out));
    std::vector<double> outer_in = random_inputs(rng, outer), inner_in = random_inputs(rng, inner), all;
    for (size_t k = 0; k < outer_in.size(); ++k)
      if (k != slot) all.push_back(outer_in[k]);
    all.insert(all.end(), inner_in.begin(), inner_in.end());
    outer_in[slot] = outputs(inner, inner_in)[out];
    expect_same(outputs(both, all), outputs(outer, outer_in), str(outer) + " of " + str(inner));
  }
}

TEST(Program, ComposeWithIdentities) {
  Program relu = P("relu(i0:f32)");
  EXPECT_EQ(compose(relu, 0, Program{}), relu);
  EXPECT_EQ(compose(Program{}, 0, relu), relu);
  EXPECT_TRUE(compose(Program{}, 0, Program{}).is_identity());
  EXPECT_EQ(str(compose(P("add(i0:f32, i1:f32)"), 0, P("mul(i0:f32, i1:f32)"))), "add(mul(i1:f32, i2:f32), i0:f32)");
}

TEST(Program, MergeInputs) {
  Program p = P("add(mul(i0:f32, i1:f32), sub(i2:f32, i3:f32))");
  Program merged = merge_inputs(p, 0, 2);
  EXPECT_EQ(str(merged), "add(mul(i0:f32, i1:f32), sub(i0, i2:f32))");
  EXPECT_EQ(run(merged, {2, 3, 5}), run(p, {2, 3, 2, 5}));
  EXPECT_EQ(input_uses(merged), (std::vector<int>{2, 1, 1}));
  EXPECT_THROW(merge_inputs(P("cast(add(i0:f32, cast(i1:i32, f32)), f16)"), 0, 1), Error);
}

TEST(Program, Cuda) {
  std::string code;
  std::vector<std::string> out =
      emit_cuda(P("i0:f32, i1:bool -> v2 = 0.5:f32; v3 = mul(i0, v2); v4 = where(i1, v3, v2); v5 = cast(v4, f16); v5, v3"), {"a[i]", "b[i]"}, "e", code);
  EXPECT_EQ(code,
            "const float e0 = a[i];\nconst bool e1 = b[i];\nconst float e3 = tg_fn_mul<float>(e0, 0.5f);\n"
            "const float e4 = tg_fn_where<float>(e1, e3, 0.5f);\nconst float e5 = tg_cast_f16<float>(e4);\n");
  EXPECT_EQ(out, (std::vector<std::string>{"e5", "e3"}));
  code.clear();
  EXPECT_EQ(emit_cuda(Program{}, {"x"}, "p", code), (std::vector<std::string>{"x"}));
  emit_cuda(P("sqrt(i0:i32)"), {"x"}, "p", code);
  EXPECT_EQ(code, "const int p0 = x;\nconst int p1 = static_cast<int>(tg_fn_sqrt<double>(static_cast<double>(p0)));\n");
  EXPECT_NE(std::string(cuda_prelude()).find("tg_fn_gelu_erf"), std::string::npos);
}

struct EpilogueCase {
  const char* program;
  const char* want;  // "bias residual act alpha beta", or "" for no match
};

TEST(Epilogue, Matches) {
  const EpilogueCase cases[] = {
      {"", "-1 -1 none 0 0"},
      {"i0:f32", "-1 -1 none 0 0"},
      {"add(i0:f32, i1:f32)", "1 -1 none 0 0"},
      {"relu(add(i1:f32, i0:f32))", "1 -1 relu 0 0"},
      {"add(add(i0:f32, i1:f32), i2:f32)", "1 2 none 0 0"},
      {"relu(add(i2:f32, add(i1:f32, i0:f32)))", "1 2 relu 0 0"},
      {"silu(add(add(i0:f32, i2:f32), i1:f32))", "1 2 silu 0 0"},
      {"i0:f32, i1:f32 -> v2 = add(i0, i1); v3 = sigmoid(v2); v4 = mul(v3, v2); v4", "1 -1 silu 0 0"},
      {"i0:f32 -> v1 = hardsigmoid(i0); v2 = mul(i0, v1); v2", "-1 -1 hardswish 0 0"},
      {"clamp(i0:f32, 0:f32, 6:f32)", "-1 -1 clamp 0 6"},
      {"min(max(i0:f32, 0:f32), 6:f32)", "-1 -1 clamp 0 6"},
      {"min(relu(i0:f32), 6:f32)", "-1 -1 clamp 0 6"},
      {"max(i0:f32, 0:f32)", "-1 -1 relu 0 0"},
      {"cast(relu(cast(add(i0:f32, i1:f32), f32)), f16)", "1 -1 relu 0 0"},
      {"tanh(i0:f32)", "-1 -1 tanh 0 0"},
      {"where(gt(i0:f32, 0:f32), i0, mul(i0, 0.25:f32))", "-1 -1 where 0.25 0"},
      {"i0:f32, i1:f32 -> v2 = add(i0, i1); v3 = gt(v2, 0:f32); v4 = mul(0.5:f32, v2); v5 = where(v3, v2, v4); v5", "1 -1 where 0.5 0"},
      {"where(gt(i0:f32, 1:f32), i0, mul(i0, 0.25:f32))", ""},
      {"where(gt(i0:f32, 0:f32), mul(i0, 0.25:f32), i0)", ""},
      {"where(gt(i0:f32, 0:f32), i0, mul(i0, i1:f32))", ""},
      {"where(gt(i1:f32, 0:f32), i0:f32, mul(i0, 0.25:f32))", ""},
      {"exp(i0:f32)", ""},
      {"relu(exp(i0:f32))", ""},
      {"mul(i0:f32, i1:f32)", ""},
      {"add(i0:f32, i0)", ""},
      {"add(relu(i0:f32), i1:f32)", ""},
      {"i0:f32, i1:f32, i2:f32 -> v3 = relu(i0); v4 = add(v3, i2); v4", "-1 2 relu 0 0 last"},
      {"add(i2:f32, silu(add(i0:f32, i1:f32)))", "1 2 silu 0 0 last"},
      {"i0:f32, i1:f32, i2:f32 -> v3 = add(i0, i1); v4 = sigmoid(v3); v5 = mul(v3, v4); v6 = add(v5, i2); v7 = cast(v6, f16); v7", "1 2 silu 0 0 last"},
      {"i0:f32, i1:f32, i2:f32, i3:f32 -> v4 = add(i0, i2); v5 = relu(v4); v6 = add(v5, i3); v6", ""},
      {"add(relu(i1:f32), i0:f32)", ""},
      {"i0:f32, i1:f32, i2:f32 -> v3 = relu(i0); v4 = cast(v3, f16); v5 = cast(v4, f32); v6 = add(v5, i2); v6", ""},
      {"i0:f32, i1:f32, i2:f32 -> v3 = relu(i0); v4 = add(v3, i2); v5 = relu(v4); v5", ""},
      {"relu(cast(i0:f32, f16))", ""},
      {"i0:f32, i1:f32, i2:f32 -> v3 = add(i1, i2); v3", ""},
      {"i0:f32, i1:f32, i2:f32, i3:f32 -> v4 = add(i0, i2); v5 = add(v4, i3); v5", ""},
      {"mul(i0:f32, sigmoid(i1:f32))", ""},
      {"cast(i0:f32, i8)", ""},
      {"i0:f32, i1:f32 -> v2 = add(i0, i1); v3 = relu(v2); v3, v2", ""},
  };
  for (const EpilogueCase& c : cases) {
    auto got = match_simple_epilogue(P(c.program), {false, true, false, false});
    std::ostringstream out;
    if (got)
      out << got->bias << " " << got->residual << " " << (got->act ? info(*got->act).name : "none") << " " << got->act_alpha << " " << got->act_beta
          << (got->residual_last ? " last" : "");
    EXPECT_EQ(out.str(), c.want) << c.program;
  }
}

}  // namespace
}  // namespace tuyere
