// SPDX-License-Identifier: Apache-2.0
// libtorch_deploy libtuyere_torch.so model.ts inputs.pt [outputs.pt]: runs what tuyere.compile(torch.jit.script(model), inputs) returned and
// torch.jit.save wrote. inputs.pt is torch.save of the list of arguments; outputs.pt can be read with torch.load.
#include <dlfcn.h>
#include <torch/script.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>

static std::vector<char> read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(std::string("cannot read ") + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

int main(int argc, char** argv) try {
  if (argc < 4) return std::fprintf(stderr, "usage: %s libtuyere_torch.so model.ts inputs.pt [outputs.pt]\n", argv[0]), 2;
  // The one thing beyond LibTorch: the operator tuyere::execute, which must be there before the module is loaded.
  if (!dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL)) throw std::runtime_error(dlerror());
  torch::jit::Module module = torch::jit::load(argv[2]);
  const std::vector<torch::IValue> inputs = torch::jit::pickle_load(read_file(argv[3])).toListRef().vec();

  c10::InferenceMode no_autograd;
  torch::IValue outputs = module.forward(inputs);  // the first call loads the engines
  const auto begin = std::chrono::steady_clock::now();
  for (int run = 0; run < 10; ++run) outputs = module.forward(inputs);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  std::printf("%.3f ms per call\n", took.count() / 10);

  if (argc > 4) {
    const std::vector<char> bytes = torch::jit::pickle_save(outputs);
    std::ofstream(argv[4], std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
} catch (const std::exception& error) {
  return std::fprintf(stderr, "error: %s\n", error.what()), 1;
}
