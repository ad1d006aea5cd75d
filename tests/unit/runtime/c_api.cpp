// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine/c_api.h"

#include <gtest/gtest.h>

#include "tests/unit/runtime/plans.h"

namespace tuyere {
namespace {

TEST(CApi, LoadRunDestroy) {
  const std::vector<std::byte> bytes = write_engine(test::transpose_plan());
  tuyere_engine* engine = nullptr;
  ASSERT_EQ(tuyere_engine_load_memory(bytes.data(), bytes.size(), 0, &engine), TUYERE_OK) << tuyere_last_error();
  EXPECT_EQ(tuyere_engine_device(engine), -1);
  EXPECT_EQ(tuyere_engine_input_count(engine), 1);
  EXPECT_EQ(tuyere_engine_output_count(engine), 2);
  tuyere_io io;
  ASSERT_EQ(tuyere_engine_input(engine, 0, &io), TUYERE_OK);
  EXPECT_STREQ(io.name, "x");
  EXPECT_STREQ(io.dtype, "f32");
  EXPECT_EQ(io.rank, 2);
  EXPECT_EQ(io.shape[0], -1);
  EXPECT_EQ(io.shape[1], 3);
  EXPECT_EQ(tuyere_engine_output(engine, 2, &io), TUYERE_INVALID_ARGUMENT);

  tuyere_context* context = nullptr;
  ASSERT_EQ(tuyere_context_create(engine, &context), TUYERE_OK);
  const int64_t shape[] = {2, 3}, wrong[] = {2, 4};
  EXPECT_EQ(tuyere_context_set_shape(context, 0, wrong), TUYERE_OK);
  EXPECT_EQ(tuyere_context_prepare(context), TUYERE_INVALID_ARGUMENT);
  EXPECT_STREQ(tuyere_last_error(), "input 'x' has shape [2,4], the engine needs [n,3] = [2,3] with n = 2");
  EXPECT_EQ(tuyere_context_set_shape(context, 0, shape), TUYERE_OK);
  EXPECT_EQ(tuyere_context_execute(context, nullptr, nullptr, nullptr), TUYERE_INVALID_ARGUMENT);
  ASSERT_EQ(tuyere_context_prepare(context), TUYERE_OK) << tuyere_last_error();
  ASSERT_EQ(tuyere_context_output(context, 0, &io), TUYERE_OK);
  EXPECT_EQ(io.bytes, 24);
  EXPECT_EQ(io.shape[0], 3);
  EXPECT_EQ(io.strides[0], 2);

  const float x[] = {0, 1, 2, 3, 4, 5};
  float y[6], v[4];
  void *in = nullptr, *out[] = {y, v};
  ASSERT_EQ(tuyere_allocate(engine, sizeof(x), &in), TUYERE_OK);
  EXPECT_EQ(tuyere_copy(engine, in, x, sizeof(x)), TUYERE_OK);
  ASSERT_EQ(tuyere_context_execute(context, &in, out, nullptr), TUYERE_OK) << tuyere_last_error();
  const float expected[] = {0, 3, 1, 4, 2, 5};
  EXPECT_EQ(std::memcmp(y, expected, sizeof(y)), 0);
  tuyere_release(engine, in);
  tuyere_engine_destroy(engine);
  tuyere_context_destroy(context);
}

TEST(CApi, Errors) {
  tuyere_engine* engine = nullptr;
  EXPECT_EQ(tuyere_engine_load("/nonexistent.engine", 0, &engine), TUYERE_INVALID_ARGUMENT);
  EXPECT_NE(std::string(tuyere_last_error()).find("/nonexistent.engine"), std::string::npos);
  EXPECT_EQ(tuyere_engine_load_memory("abc", 3, 0, &engine), TUYERE_DATA_LOSS);
}

TEST(CApi, NullArguments) {
  tuyere_engine* engine = nullptr;
  tuyere_context* context = nullptr;
  tuyere_io io;
  EXPECT_EQ(tuyere_engine_load(nullptr, 0, &engine), TUYERE_INVALID_ARGUMENT);
  EXPECT_STREQ(tuyere_last_error(), "the argument 'path' is NULL");
  EXPECT_EQ(tuyere_engine_load("x", 0, nullptr), TUYERE_INVALID_ARGUMENT);
  EXPECT_EQ(tuyere_engine_load_memory(nullptr, 8, 0, &engine), TUYERE_INVALID_ARGUMENT);
  EXPECT_EQ(tuyere_engine_input(nullptr, 0, &io), TUYERE_INVALID_ARGUMENT);
  EXPECT_EQ(tuyere_engine_input_count(nullptr), 0);
  EXPECT_EQ(tuyere_context_create(nullptr, &context), TUYERE_INVALID_ARGUMENT);
  EXPECT_EQ(tuyere_context_prepare(nullptr), TUYERE_INVALID_ARGUMENT);
  EXPECT_EQ(tuyere_context_execute(nullptr, nullptr, nullptr, nullptr), TUYERE_INVALID_ARGUMENT);
  tuyere_engine_destroy(nullptr);
  tuyere_context_destroy(nullptr);

  const std::vector<std::byte> bytes = write_engine(test::transpose_plan());
  ASSERT_EQ(tuyere_engine_load_memory(bytes.data(), bytes.size(), 0, &engine), TUYERE_OK) << tuyere_last_error();
  EXPECT_EQ(tuyere_engine_input(engine, 0, nullptr), TUYERE_INVALID_ARGUMENT);
  void* memory = nullptr;
  EXPECT_EQ(tuyere_allocate(engine, -1, &memory), TUYERE_INVALID_ARGUMENT);
  EXPECT_EQ(tuyere_allocate(engine, INT64_MAX, &memory), TUYERE_INVALID_ARGUMENT);
  EXPECT_EQ(tuyere_copy(engine, nullptr, &io, 8), TUYERE_INVALID_ARGUMENT);
  ASSERT_EQ(tuyere_context_create(engine, &context), TUYERE_OK);
  EXPECT_EQ(tuyere_context_set_shape(context, 0, nullptr), TUYERE_INVALID_ARGUMENT);
  ASSERT_EQ(tuyere_context_prepare(context), TUYERE_OK) << tuyere_last_error();
  EXPECT_EQ(tuyere_context_execute(context, nullptr, nullptr, nullptr), TUYERE_INVALID_ARGUMENT);
  EXPECT_STREQ(tuyere_last_error(), "the argument 'inputs' is NULL");
  void* none[] = {nullptr, nullptr};
  EXPECT_EQ(tuyere_context_execute(context, none, none, nullptr), TUYERE_INVALID_ARGUMENT);
  EXPECT_NE(std::string(tuyere_last_error()).find("has no data"), std::string::npos);
  tuyere_engine_destroy(engine);
  tuyere_context_destroy(context);
}

}  // namespace
}  // namespace tuyere
