// SPDX-License-Identifier: Apache-2.0
// execute() on a prepared shape allocates nothing: every operator new of this thread is counted.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "tests/unit/runtime/plans.h"

namespace {
thread_local int64_t allocations = 0;
}  // namespace

// Out of line: inlined, GCC takes malloc and delete for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  ++allocations;
  if (void* data = std::malloc(bytes ? bytes : 1)) return data;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(bytes ? bytes : 1);
}
[[gnu::noinline]] void operator delete(void* data) noexcept { std::free(data); }
[[gnu::noinline]] void operator delete(void* data, std::size_t) noexcept { std::free(data); }

namespace tuyere {
namespace {

TEST(Engine, ExecuteAllocatesNothing) {
  const auto engine = test::load(test::transpose_plan());
  ASSERT_TRUE(engine.is_ok()) << engine.status().message();
  const auto context = std::move(engine.value()->create_context().value());
  test::Host small({2, 3}), y2({3, 2}), large({50, 3}), y50({3, 50}), v({4});
  const TensorRef in2[] = {small.ref()}, out2[] = {y2.ref(), v.ref()}, in50[] = {large.ref()}, out50[] = {y50.ref(), v.ref()};
  ASSERT_TRUE(context->execute(in50, out50).is_ok());
  ASSERT_TRUE(context->execute(in2, out2).is_ok());
  const int64_t before = allocations;
  EXPECT_GT(before, 0);
  bool ok = true;
  for (int i = 0; i < 10; ++i) {
    ok = ok && context->execute(in2, out2).is_ok();
    ok = ok && context->execute(in50, out50).is_ok();
  }
  EXPECT_EQ(allocations, before);
  EXPECT_TRUE(ok);
}

}  // namespace
}  // namespace tuyere
