// SPDX-License-Identifier: Apache-2.0
#include "common/dim.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <optional>
#include <random>

#include "common/error.h"

namespace tuyere {
namespace {

Dim D(std::string_view text) { return Dim::parse(text); }

/// A random expression, built twice: as a Dim and as a value under `symbols` (empty when it divides by zero).
struct Random {
  std::mt19937 rng;
  const std::vector<Symbols>& worlds;

  int pick(int n) { return static_cast<int>(rng() % static_cast<unsigned>(n)); }

  static std::optional<int64_t> apply(int op, int64_t a, int64_t b) {
    int64_t q = b == 0 ? 0 : a / b - (a % b != 0 && (a < 0) != (b < 0));
    switch (op) {
      case 0:
        return a + b;
      case 1:
        return a - b;
      case 2:
        return a * b;
      case 3:
        return b == 0 ? std::nullopt : std::optional(q);
      case 4:
        return b == 0 ? std::nullopt : std::optional(a - q * b);
      case 5:
        return std::min(a, b);
      case 6:
        return std::max(a, b);
      default:
        return b == 0 ? std::nullopt : std::optional(a / b + (a % b != 0 && (a < 0) == (b < 0)));
    }
  }

  static Dim apply(int op, const Dim& a, const Dim& b) {
    switch (op) {
      case 0:
        return a + b;
      case 1:
        return a - b;
      case 2:
        return a * b;
      case 3:
        return floordiv(a, b);
      case 4:
        return mod(a, b);
      case 5:
        return min(a, b);
      case 6:
        return max(a, b);
      default:
        return ceildiv(a, b);
    }
  }

  Dim make(int depth, std::vector<std::optional<int64_t>>& values) {
    values.clear();
    if (depth == 0) {
      if (pick(2)) {
        int64_t c = pick(13) - 4;
        values.assign(worlds.size(), c);
        return c;
      }
      const char* name = std::array{"n", "m", "k"}[static_cast<size_t>(pick(3))];
      for (const Symbols& world : worlds) values.push_back(*world.find(name));
      return Dim::symbol(name);
    }
    std::vector<std::optional<int64_t>> other;
    Dim a = make(depth - 1, values), b = make(pick(depth), other);
    int op = pick(8);
    if (b.is_const(0) && (op == 3 || op == 4 || op == 7)) op = 0;
    for (size_t i = 0; i < worlds.size(); ++i) values[i] = values[i] && other[i] ? apply(op, *values[i], *other[i]) : std::nullopt;
    return apply(op, a, b);
  }
};

TEST(Dim, AgreesWithBruteForce) {
  std::mt19937 rng(1);
  std::vector<Symbols> worlds(12);
  for (Symbols& world : worlds)
    for (const char* name : {"n", "m", "k"}) world.set(name, static_cast<int64_t>(rng() % 41) - 12);
  Random random{std::mt19937(7), worlds};
  std::vector<std::optional<int64_t>> want;
  for (int round = 0; round < 3000; ++round) {
    Dim dim = random.make(1 + round % 4, want);
    ASSERT_EQ(Dim::parse(dim.str()), dim) << dim;
    ASSERT_EQ(Dim::parse(dim.str()).str(), dim.str());
    for (size_t i = 0; i < worlds.size(); ++i) {
      int64_t got;
      if (want[i]) {
        ASSERT_TRUE(dim.try_eval(worlds[i], &got)) << dim;
        ASSERT_EQ(got, *want[i]) << dim;
      }
    }
  }
}

TEST(Dim, EqualExpressionsAreEqual) {
  for (auto [a, b] : std::vector<std::pair<const char*, const char*>>{{"(n+1)*(m+1)", "m+n+n*m+1"},
                                                                      {"n+m-n", "m"},
                                                                      {"(4*n+8)//4", "n+2"},
                                                                      {"(4*n+6)//4", "n+1+(2)//4"},
                                                                      {"(2*n+3)//4", "(n+1)//2"},
                                                                      {"(n//2+1)//2", "(n+2)//4"},
                                                                      {"(n*m*8)//(m*8)", "n"},
                                                                      {"(n*n-1)//(n+1)", "n-1"},
                                                                      {"(n*m+k)//m", "n+k//m"},
                                                                      {"(6*n)//(4*m)", "(3*n)//(2*m)"},
                                                                      {"(8*n)%4", "0"},
                                                                      {"(8*n+3)%4", "3"},
                                                                      {"(n*m)%m", "0"},
                                                                      {"(n%8)%4", "n%4"},
                                                                      {"(n%4)//4", "0"},
                                                                      {"(n%4)%8", "n%4"},
                                                                      {"min(n,n+1)", "n"},
                                                                      {"max(n,min(2,4),2)", "max(2,n)"},
                                                                      {"min(min(n,m),k)", "min(k,min(m,n))"},
                                                                      {"-(-n)", "n"},
                                                                      {"n//-2", "(-n)//2"},
                                                                      {"-7//2", "-4"},
                                                                      {"-7%2", "1"}})
    EXPECT_EQ(D(a), D(b)) << a << " = " << D(a) << ", " << b << " = " << D(b);
  EXPECT_FALSE(D("n") == D("m"));
  EXPECT_FALSE(D("n") == Dim(3));
  EXPECT_EQ(ceildiv(D("n"), 2), D("(n+1)//2"));
}

TEST(Dim, Text) {
  EXPECT_EQ(D("1 + 2*n").str(), "2*n+1");
  EXPECT_EQ(D("(n+1)//2").str(), "(n+1)//2");
  EXPECT_EQ(D("n%8").str(), "n%8");
  EXPECT_EQ(D("min(4,n)").str(), "min(n,4)");
  EXPECT_EQ(D("3*(n//2)").str(), "3*(n//2)");
  EXPECT_EQ(D("5-n//2").str(), "-(n//2)+5");
  EXPECT_EQ(Dim(-3).str(), "-3");
  EXPECT_EQ(Dim(INT64_MIN).str(), D(Dim(INT64_MIN).str()).str());
  for (const char* bad : {"", "n+", "2n", "(n", "n)", "min(n", "n/2", "n//0", "99999999999999999999", "n,m"}) EXPECT_THROW(D(bad), Error) << bad;
}

TEST(Dim, EvaluationAndSubstitution) {
  Symbols symbols;
  symbols.set("n", 7);
  EXPECT_EQ(D("2*n+1").eval(symbols), 15);
  int64_t out;
  EXPECT_FALSE(D("n//m").try_eval(symbols, &out));
  try {
    D("n+batch").eval(symbols);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(e.message().find("'batch'"), std::string::npos);
  }
  symbols.set("m", 0);
  EXPECT_THROW(D("n//m").eval(symbols), Error);
  EXPECT_EQ(D("(n+1)//2+n%4").substitute("n", 7), Dim(7));
  EXPECT_EQ(D("n*m").substitute("n", D("k+1")), D("k*m+m"));
  std::vector<std::string> names;
  D("n*m+min(n,k)//2").collect(names);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"k", "m", "n"}));
  EXPECT_THROW(D("n").value(), Error);
  EXPECT_THROW(Dim(INT64_MAX) + Dim(1), Error);
}

TEST(Shape, TextAndArithmetic) {
  Shape shape = parse_shape("[n, 3, min(n,4), 224]");
  EXPECT_EQ(str(shape), "[n,3,min(n,4),224]");
  EXPECT_EQ(parse_shape("[]"), Shape{});
  EXPECT_THROW(parse_shape("3,4"), Error);
  EXPECT_EQ(numel(parse_shape("[n,3,4]")), D("12*n"));
  EXPECT_EQ(contiguous_strides(parse_shape("[n,3,m]")), (std::vector<Dim>{D("3*m"), D("m"), 1}));
  EXPECT_EQ(contiguous_strides(std::vector<int64_t>{2, 3, 4}), (std::vector<int64_t>{12, 4, 1}));
  EXPECT_EQ(str(broadcast(parse_shape("[n,1,4]"), parse_shape("[3,1]"))), "[n,3,4]");
  EXPECT_THROW(broadcast(parse_shape("[n]"), parse_shape("[m]")), Error);
  EXPECT_TRUE(is_static(parse_shape("[1,2]")));
  EXPECT_FALSE(is_static(shape));
  EXPECT_EQ(to_ints(parse_shape("[1,2]")), (std::vector<int64_t>{1, 2}));
}

}  // namespace
}  // namespace tuyere
