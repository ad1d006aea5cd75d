// SPDX-License-Identifier: Apache-2.0
// run_engine model.engine [input0.bin input1.bin ..]: runs an engine file without PyTorch, on the CPU or GPU it was built for. Links only libtuyere_runtime.so.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <vector>

#include "runtime/engine/c_api.h"

static void check(int code) {
  if (code == TUYERE_OK) return;
  std::fprintf(stderr, "error: %s\n", tuyere_last_error());
  std::exit(1);
}

/// The file's bytes; without a file floats in [-1, 1), and zeros for every other type.
static std::vector<char> make_input(const tuyere_io& io, const char* file) {
  std::vector<char> data(io.bytes);
  if (file && !std::ifstream(file, std::ios::binary).read(data.data(), io.bytes))
    std::fprintf(stderr, "error: %s has fewer than %lld bytes\n", file, (long long)io.bytes), std::exit(1);
  std::minstd_rand random(1);
  if (!file && !std::strcmp(io.dtype, "f32"))
    for (int64_t i = 0; i < io.bytes / 4; ++i) reinterpret_cast<float*>(data.data())[i] = random() % 2000 / 1000.f - 1;
  return data;
}

static void print_output(const tuyere_io& io, const std::vector<char>& data) {
  std::printf("%s %s [", io.name, io.dtype);
  for (int i = 0; i < io.rank; ++i) std::printf("%s%lld", i ? "," : "", (long long)io.shape[i]);
  double sum = 0, low = 1e300, high = -1e300;
  const int64_t count = std::strcmp(io.dtype, "f32") ? 0 : io.bytes / 4;
  for (int64_t i = 0; i < count; ++i) {
    const double v = reinterpret_cast<const float*>(data.data())[i];
    sum += v, low = v < low ? v : low, high = v > high ? v : high;
  }
  count ? std::printf("] mean %g min %g max %g\n", sum / count, low, high) : std::printf("] %lld bytes\n", (long long)io.bytes);
}

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: %s model.engine [input.bin ..]\n", argv[0]), 2;
  tuyere_engine* engine;
  tuyere_context* context;
  check(tuyere_engine_load(argv[1], 0, &engine));
  check(tuyere_context_create(engine, &context));
  check(tuyere_context_prepare(context));  // tuyere_context_set_shape before it chooses dynamic sizes
  std::vector<void*> inputs(tuyere_engine_input_count(engine)), outputs(tuyere_engine_output_count(engine));
  tuyere_io io;
  for (size_t i = 0; i < inputs.size(); ++i) {
    check(tuyere_context_input(context, (int)i, &io));
    check(tuyere_allocate(engine, io.bytes, &inputs[i]));
    check(tuyere_copy(engine, inputs[i], make_input(io, (int)i + 2 < argc ? argv[i + 2] : nullptr).data(), io.bytes));
  }
  for (size_t i = 0; i < outputs.size(); ++i) check(tuyere_context_output(context, (int)i, &io)), check(tuyere_allocate(engine, io.bytes, &outputs[i]));

  double best = 1e300;
  for (int run = 0; run < 10; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    check(tuyere_context_execute(context, inputs.data(), outputs.data(), nullptr));
    check(tuyere_copy(engine, nullptr, nullptr, 0));  // waits for the GPU
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    best = took.count() < best ? took.count() : best;
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    check(tuyere_context_output(context, (int)i, &io));
    std::vector<char> data(io.bytes);
    check(tuyere_copy(engine, data.data(), outputs[i], io.bytes));
    print_output(io, data);
  }
  std::printf("best of 10: %.3f ms\n", best);
  for (void* data : inputs) tuyere_release(engine, data);
  for (void* data : outputs) tuyere_release(engine, data);
  tuyere_context_destroy(context);
  tuyere_engine_destroy(engine);
}
