// SPDX-License-Identifier: Apache-2.0
#include "common/error.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "common/env.h"
#include "common/log.h"
#include "common/log_rules.h"
#include "common/status.h"

namespace tuyere {
namespace {

template <class F>
std::string what_of(F&& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing thrown";
}

TEST(Error, FramesInnermostFirst) {
  ErrorFrame outer("in pass fold_bn");
  {
    ErrorFrame inner("layer 'conv1'");
    EXPECT_EQ(what_of([] { USER_CHECK(1 > 2, "axis " << 4 << " out of range"); }), "error: layer 'conv1': in pass fold_bn: axis 4 out of range");
    std::thread([] { EXPECT_EQ(what_of([] { USER_CHECK(false, "alone"); }), "error: alone"); }).join();
  }
  EXPECT_EQ(what_of([] { USER_CHECK(false, "x"); }), "error: in pass fold_bn: x");
}

TEST(Error, InternalFaultsNameThePlace) {
  std::string text = what_of([] { INTERNAL_CHECK(1 + 1 == 3, "sum"); });
  EXPECT_NE(text.find("sum [1 + 1 == 3] (tests/unit/common/error.cpp:"), std::string::npos) << text;
}

TEST(Env, OnlyListedNames) {
  EXPECT_THROW(env("TUYERE_TYPO"), Error);
  setenv("TUYERE_CACHE_DIR", "/x/y", 1);
  EXPECT_EQ(cache_dir(), "/x/y");
  unsetenv("TUYERE_CACHE_DIR");
  setenv("XDG_CACHE_HOME", "/cache", 1);
  EXPECT_EQ(cache_dir(), "/cache/tuyere");
}

TEST(Log, Rules) {
  EXPECT_EQ(LogRules("").level("a/b.cpp"), 1);
  EXPECT_EQ(LogRules("3").level("a/b.cpp"), 3);
  LogRules rules("1;4,tactics.cpp;3,fuse_*");
  EXPECT_EQ(rules.level("/src/core/tactics.cpp"), 4);
  EXPECT_EQ(rules.level("core/fuse_bn.cpp"), 3);
  EXPECT_EQ(rules.level("core/other.cpp"), 1);
  EXPECT_EQ(rules.highest(), 4);
  EXPECT_EQ(LogRules("4,x*;0").level("xy.cpp"), 0);  // later rules win
  EXPECT_TRUE(glob_match("a*c*e", "abcde"));
  EXPECT_FALSE(glob_match("a*c", "abcd"));
}

TEST(Log, SinkTakesTheLines) {
  std::string seen;
  set_log_sink([](LogLevel, const char* line, void* user) { *static_cast<std::string*>(user) += line; }, &seen);
  TUYERE_LOG(Warning, "number " << 7);
  TUYERE_LOG(Trace, "never");
  set_log_sink(nullptr, nullptr);
  EXPECT_NE(seen.find("number 7"), std::string::npos);
  EXPECT_EQ(seen.find("never"), std::string::npos);
}

Result<int> half(int v) {
  if (v % 2) return Status(Code::InvalidArgument, "odd");
  return v / 2;
}

Status quarter(int v, int* out) {
  TRY_ASSIGN(int h, half(v));
  TRY_ASSIGN(*out, half(h));
  return Status::ok();
}

TEST(Status, Propagates) {
  int out = 0;
  EXPECT_TRUE(quarter(12, &out).is_ok());
  EXPECT_EQ(out, 3);
  EXPECT_EQ(quarter(6, &out).message(), "odd");
}

}  // namespace
}  // namespace tuyere
