// SPDX-License-Identifier: Apache-2.0
#include "kernels/run/dynamic_library.h"

#include <dlfcn.h>

#include <sstream>
#include <vector>

#include "common/env.h"

namespace tuyere {

Result<void*> open_library(const char* product, std::initializer_list<const char*> sonames) {
  std::vector<std::string> paths;
  std::istringstream listed(env("TUYERE_LIBRARY_PATH"));
  for (std::string folder; std::getline(listed, folder, ':');)
    for (const char* soname : sonames)
      if (!folder.empty()) paths.push_back(folder + "/" + soname);
  paths.insert(paths.end(), sonames.begin(), sonames.end());
  std::string tried;
  for (const std::string& path : paths) {
    if (void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
    const char* why = dlerror();
    tried += "\n  " + (why ? std::string(why) : path);
  }
  return Status(Code::FailedPrecondition, std::string(product) + " cannot be opened (TUYERE_LIBRARY_PATH may name its folder):" + tried);
}

}  // namespace tuyere
