// SPDX-License-Identifier: Apache-2.0
// run_engine model.engine [input0.bin ..]: runs an engine file without PyTorch, on the CPU or GPU it was built for. Links only libtuyere_runtime.so.
#include <chrono>
#include <cstdio>
#include <fstream>

#include "runtime/engine/cpp_api.h"

/// The bytes of a file, or ones (f32) and zeros (other types).
static std::vector<char> make_input(const tuyere::api::Io& io, const char* file) {
  std::vector<char> data(io.bytes);
  if (file && !std::ifstream(file, std::ios::binary).read(data.data(), io.bytes))
    throw std::runtime_error(std::string(file) + " has fewer than " + std::to_string(io.bytes) + " bytes, the size of input " + io.name);
  for (size_t i = 0; !file && io.dtype == "f32" && i < data.size() / 4; ++i) reinterpret_cast<float*>(data.data())[i] = 1;
  return data;
}

int main(int argc, char** argv) try {
  if (argc < 2) return std::fprintf(stderr, "usage: %s model.engine [input0.bin ..]\n", argv[0]), 2;
  tuyere::api::Engine engine(argv[1]);
  tuyere::api::Context context(engine);
  context.prepare();  // context.set_shape() before it chooses dynamic sizes
  std::vector<tuyere::api::Buffer> inputs = context.make_inputs(), outputs = context.make_outputs();
  for (size_t i = 0; i < inputs.size(); ++i) inputs[i].write(make_input(context.inputs()[i], static_cast<int>(i) + 2 < argc ? argv[i + 2] : nullptr).data());

  context.execute(inputs, outputs);  // the first call of a GPU engine captures its CUDA graph
  engine.synchronize();
  const auto begin = std::chrono::steady_clock::now();
  for (int run = 0; run < 10; ++run) context.execute(inputs, outputs);
  engine.synchronize();
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;

  for (size_t i = 0; i < outputs.size(); ++i) {
    const tuyere::api::Io io = context.outputs()[i];
    std::printf("%s: %s, %lld bytes:", io.name.c_str(), io.dtype.c_str(), static_cast<long long>(io.bytes));
    for (size_t k = 0; io.dtype == "f32" && k < 8 && k < outputs[i].read<float>().size(); ++k) std::printf(" %g", outputs[i].read<float>()[k]);
    std::printf("\n");
  }
  std::printf("%.3f ms per call\n", took.count() / 10);
} catch (const std::exception& error) {
  return std::fprintf(stderr, "error: %s\n", error.what()), 1;
}
