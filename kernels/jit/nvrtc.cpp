// SPDX-License-Identifier: Apache-2.0
#include "kernels/jit/nvrtc.h"

#include <dlfcn.h>

#include <cctype>
#include <mutex>
#include <set>

#include "common/env.h"
#include "common/error.h"
#include "common/log.h"
#include "kernels/jit/cubin_cache.h"

namespace tuyere {
namespace {

using Program_t = void*;

/// The entry points used, by the names of the C API; results are 0 on success.
struct Nvrtc {
  int (*version)(int*, int*) = nullptr;
  int (*create)(Program_t*, const char*, const char*, int, const char* const*, const char* const*) = nullptr;
  int (*compile)(Program_t, int, const char* const*) = nullptr;
  int (*destroy)(Program_t*) = nullptr;
  int (*cubin_size)(Program_t, size_t*) = nullptr;
  int (*cubin)(Program_t, char*) = nullptr;
  int (*log_size)(Program_t, size_t*) = nullptr;
  int (*log)(Program_t, char*) = nullptr;
  const char* (*error_string)(int) = nullptr;
  int version_number = 0;
  std::string failure;
};

std::vector<std::string> candidates() {
  std::vector<std::string> out;
  const std::string path = env("TUYERE_LIBRARY_PATH");
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find(':', begin), path.size());
    for (const char* soname : {"libnvrtc.so.13", "libnvrtc.so.12"})
      if (end > begin) out.push_back(path.substr(begin, end - begin) + "/" + soname);
    begin = end + 1;
  }
  for (const char* name : {"libnvrtc.so.13", "libnvrtc.so.12", "/usr/local/cuda/lib64/libnvrtc.so.13", "/usr/local/cuda/lib64/libnvrtc.so.12"})
    out.push_back(name);
  return out;
}

template <class F>
void resolve(void* library, const char* name, F& out, std::string& failure) {
  out = reinterpret_cast<F>(dlsym(library, name));
  if (!out) failure = std::string("the NVRTC library lacks ") + name;
}

Nvrtc open_nvrtc() {
  Nvrtc api;
  void* library = nullptr;
  std::string tried;
  for (const std::string& name : candidates()) {
    library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library) break;
    tried += (tried.empty() ? "" : ", ") + name;
  }
  if (!library) {
    api.failure = "no NVRTC found (tried " + tried + "); install the CUDA toolkit's NVRTC or name its folder in TUYERE_LIBRARY_PATH";
    return api;
  }
  resolve(library, "nvrtcVersion", api.version, api.failure);
  resolve(library, "nvrtcCreateProgram", api.create, api.failure);
  resolve(library, "nvrtcCompileProgram", api.compile, api.failure);
  resolve(library, "nvrtcDestroyProgram", api.destroy, api.failure);
  resolve(library, "nvrtcGetCUBINSize", api.cubin_size, api.failure);
  resolve(library, "nvrtcGetCUBIN", api.cubin, api.failure);
  resolve(library, "nvrtcGetProgramLogSize", api.log_size, api.failure);
  resolve(library, "nvrtcGetProgramLog", api.log, api.failure);
  resolve(library, "nvrtcGetErrorString", api.error_string, api.failure);
  int major = 0, minor = 0;
  if (api.failure.empty() && api.version(&major, &minor) == 0) api.version_number = major * 1000 + minor * 10;
  return api;
}

const Nvrtc& nvrtc() {
  static const Nvrtc api = open_nvrtc();
  return api;
}

const Nvrtc& require_nvrtc() {
  const Nvrtc& api = nvrtc();
  USER_CHECK(api.failure.empty(), api.failure);
  return api;
}

/// The line numbers N of "kernel.cu(N): error".
std::set<int> error_lines(const std::string& log) {
  std::set<int> lines;
  for (size_t at = log.find("kernel.cu("); at != std::string::npos; at = log.find("kernel.cu(", at + 1)) {
    const int line = std::atoi(log.c_str() + at + 10);
    const size_t close = log.find(')', at);
    if (close != std::string::npos && log.compare(close, 8, "): error") == 0 && line > 0 && lines.size() < 8) lines.insert(line);
  }
  return lines;
}

std::string quote_lines(const std::string& source, const std::set<int>& wanted) {
  std::string out;
  int number = 1;
  for (size_t begin = 0; begin <= source.size(); ++number) {
    const size_t end = std::min(source.find('\n', begin), source.size());
    if (wanted.count(number)) out += "  " + std::to_string(number) + " | " + source.substr(begin, end - begin) + "\n";
    begin = end + 1;
  }
  return out;
}

/// Destroys the program at the end of the scope.
struct ProgramGuard {
  const Nvrtc& api;
  Program_t program = nullptr;
  ~ProgramGuard() {
    if (program) api.destroy(&program);
  }
};

std::string log_of(const Nvrtc& api, Program_t program) {
  size_t size = 0;
  if (api.log_size(program, &size) != 0 || size <= 1) return "";
  std::string log(size, '\0');
  api.log(program, log.data());
  log.resize(size - 1);
  return log;
}

}  // namespace

bool has_nvrtc() { return nvrtc().failure.empty(); }
int nvrtc_version() { return require_nvrtc().version_number; }

std::vector<std::byte> compile_uncached(const std::string& source, const std::string& arch, const std::vector<std::string>& options) {
  const Nvrtc& api = require_nvrtc();
  ProgramGuard guard{api};
  int error = api.create(&guard.program, source.c_str(), "kernel.cu", 0, nullptr, nullptr);
  INTERNAL_CHECK(error == 0, "NVRTC: " << api.error_string(error));
  std::vector<std::string> all = {"--gpu-architecture=" + arch, "-std=c++17", "-default-device", "-diag-suppress=177"};
  all.insert(all.end(), options.begin(), options.end());
  std::vector<const char*> pointers;
  for (const std::string& option : all) pointers.push_back(option.c_str());
  error = api.compile(guard.program, static_cast<int>(pointers.size()), pointers.data());
  if (error != 0) {
    const std::string log = log_of(api, guard.program);
    throw_error(Fault::Internal, __FILE__, __LINE__,
                std::string("NVRTC for ") + arch + ": " + api.error_string(error) + "\n" + log + quote_lines(source, error_lines(log)));
  }
  size_t size = 0;
  INTERNAL_CHECK(api.cubin_size(guard.program, &size) == 0 && size > 0, "NVRTC gave no machine code for " << arch);
  std::vector<std::byte> code(size);
  INTERNAL_CHECK(api.cubin(guard.program, reinterpret_cast<char*>(code.data())) == 0, "NVRTC gave no machine code for " << arch);
  return code;
}

Bytes compile_cubin(const std::string& source, const std::string& arch, const std::vector<std::string>& options) {
  std::string key = "nvrtc " + std::to_string(nvrtc_version()) + " " + arch;
  for (const std::string& option : options) key += " " + option;
  key += "\n" + source;
  return cached_cubin(key, [&] {
    dump("kernels", arch, source);
    return compile_uncached(source, arch, options);
  });
}

}  // namespace tuyere
