// SPDX-License-Identifier: Apache-2.0
// Runs the launches of a CUDA step on the CPU from their source text (see device.h). For tests: slow, exact about layouts, barriers and bounds.
#pragma once
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <list>
#include <regex>
#include <string>
#include <vector>

#include "common/error.h"
#include "kernels/api/cuda_step.h"

namespace tuyere::emulator {

/// Host source of a CUDA source: dynamic shared memory becomes a pointer, every kernel gets an entry point.
inline std::string host_source(const std::string& source, const CudaStep& step) {
  std::string text = std::regex_replace(source, std::regex("extern __shared__[^;]*?([A-Za-z_0-9]+)\\[\\];"), "unsigned char* $1 = emu::shared_base;");
  // The one line of inline assembly in the prelude of pointwise programs.
  text = std::regex_replace(text, std::regex("asm\\(\"\\{ \\.reg \\.b16 h;[^;]*;[^;]*; \\}\"[^;]*;"), "r = emu::f16_value(emu::f16_bits((float)a));");
  if (source.find("struct tg_half") != std::string::npos)
    text +=
        "\nfloat tg_value(tg_half h) { return emu::f16_value(h.x); }\ntg_half tg_to_half(float f) { tg_half h; h.x = emu::f16_bits(f); return h; }\n"
        "tg_bf16 tg_to_bf16(float f) { tg_bf16 h; h.x = emu::bf16_bits(f); return h; }\n";
  std::vector<std::string> done;
  for (const KernelLaunch& launch : step.launches) {
    if (launch.kernel.empty() || std::find(done.begin(), done.end(), launch.kernel) != done.end()) continue;
    done.push_back(launch.kernel);
    text += "extern \"C\" __attribute__((visibility(\"default\"))) void emu_" + launch.kernel +
            "(void** args, const int* grid, const int* block, int shared, int cluster) { emu::launch(" + launch.kernel +
            ", args, grid, block, shared, cluster); }\n";
  }
  return text;
}

/// Compiler command up to the sources, with device.h precompiled once per process.
inline const std::string& compiler() {
  struct Precompiled {
    std::filesystem::path folder = std::filesystem::temp_directory_path() / ("tuyere_emulator_" + std::to_string(getpid()));
    std::string command = "g++ -std=c++20 -O1 -w -Wno-psabi -ffp-contract=off -fPIC -fno-gnu-unique -fvisibility=hidden -I" TUYERE_SOURCE_DIR;
    Precompiled() {
      std::filesystem::create_directories(folder);
      const std::string header = (folder / "device.h").string();
      std::ofstream(header) << "#include \"tests/emulator/device.h\"\n";
      INTERNAL_CHECK(std::system((command + " -x c++-header -o " + header + ".gch " + header).c_str()) == 0, "the host compiler refused device.h");
      command += " -shared -include " + header;
    }
    ~Precompiled() {
      std::error_code ignored;
      std::filesystem::remove_all(folder, ignored);
    }
  };
  static const Precompiled precompiled;
  return precompiled.command;
}

/// A compiled source, loaded into this process.
class Module {
 public:
  Module(const std::string& source, const CudaStep& step) {
    static int count = 0;
    const std::filesystem::path base = std::filesystem::temp_directory_path() / ("tuyere_emulator_" + std::to_string(getpid()) + "_" + std::to_string(count++));
    const std::string cpp = base.string() + ".cpp", so = base.string() + ".so";
    std::ofstream(cpp) << host_source(source, step);
    const std::string command = compiler() + " -o " + so + " " + cpp;
    INTERNAL_CHECK(std::system(command.c_str()) == 0, "the host compiler refused " << cpp);
    handle_ = dlopen(so.c_str(), RTLD_NOW | RTLD_LOCAL);
    INTERNAL_CHECK(handle_, dlerror());
    if (!std::getenv("TUYERE_KEEP_EMULATED")) std::filesystem::remove(cpp);
    if (!std::getenv("TUYERE_KEEP_EMULATED")) std::filesystem::remove(so);
  }
  ~Module() { dlclose(handle_); }
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// pointers: inputs, outputs, workspace. A zero-sized grid runs nothing.
  void run(const CudaStep& step, void* const* pointers, const Symbols& symbols) const {
    for (const KernelLaunch& launch : step.launches) run(launch, pointers, symbols);
  }

 private:
  using Entry = void (*)(void**, const int*, const int*, int, int);
  /// What tgh_map is in device.h: a base address, then sizes, byte strides (the first is not used) and the box.
  struct alignas(64) TensorMap {
    void* base;
    int64_t dims[3], strides[3];
    int box[3];
  };

  static TensorMap tensor_map(const KernelArg& arg, void* const* pointers, const Symbols& symbols) {
    INTERNAL_CHECK(arg.dims.size() == 3 && arg.swizzle == 128, "a tensor map the emulator does not know");
    TensorMap map{};
    map.base = static_cast<char*>(pointers[arg.pointer]) + arg.value.eval(symbols);
    for (int d = 0; d < 3; ++d) {
      map.dims[d] = arg.dims[d].eval(symbols);
      map.strides[d] = d ? arg.strides[d - 1].eval(symbols) : 0;
      map.box[d] = arg.box[d];
      INTERNAL_CHECK(map.dims[d] > 0 && map.box[d] <= 256 && map.strides[d] % 16 == 0, "a tensor map the driver refuses");
    }
    INTERNAL_CHECK(reinterpret_cast<uintptr_t>(map.base) % 16 == 0, "a tensor map the driver refuses");
    return map;
  }

  void run(const KernelLaunch& launch, void* const* pointers, const Symbols& symbols) const {
    if (launch.kernel.empty()) {
      std::memset(static_cast<char*>(pointers[launch.args[0].pointer]) + launch.args[0].value.eval(symbols), 0, launch.args[1].value.eval(symbols));
      return;
    }
    std::vector<int64_t> values(launch.args.size());
    std::vector<void*> args(launch.args.size());
    std::list<TensorMap> maps;
    for (size_t i = 0; i < launch.args.size(); ++i) {
      const KernelArg& arg = launch.args[i];
      if (arg.kind == KernelArg::Kind::pointer) {
        void* p = static_cast<char*>(pointers[arg.pointer]) + arg.value.eval(symbols);
        std::memcpy(&values[i], &p, sizeof p);
      } else if (arg.kind == KernelArg::Kind::f32) {
        std::memcpy(&values[i], &arg.f, 4);
      } else if (arg.kind == KernelArg::Kind::tensor_map) {
        maps.push_back(tensor_map(arg, pointers, symbols));
        args[i] = &maps.back();
        continue;
      } else {
        values[i] = arg.value.eval(symbols);
      }
      args[i] = &values[i];
    }
    int grid[3];
    for (int d = 0; d < 3; ++d) grid[d] = static_cast<int>(launch.grid[d].eval(symbols));
    Entry entry = reinterpret_cast<Entry>(dlsym(handle_, ("emu_" + launch.kernel).c_str()));
    INTERNAL_CHECK(entry, "no kernel " << launch.kernel);
    entry(args.data(), grid, launch.block.data(), launch.shared_bytes, launch.cluster);
  }

  void* handle_;
};

}  // namespace tuyere::emulator
