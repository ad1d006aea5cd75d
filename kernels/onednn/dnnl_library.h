// SPDX-License-Identifier: Apache-2.0
// Opens libdnnl: TUYERE_LIBRARY_PATH first, then the loader's own search.
#pragma once
#include <dlfcn.h>

#include <sstream>
#include <string>

#include "common/env.h"

namespace tuyere {

inline void* open_dnnl_at(const std::string& path) {
// A oneDNN inside another library of the process (PyTorch carries one) must not answer our calls. ASan refuses the flag; its tests have no other oneDNN.
#if defined(RTLD_DEEPBIND) && !defined(__SANITIZE_ADDRESS__)
  return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
#else
  return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
#endif
}

/// The handle of the library, or nullptr. Opened once and kept.
inline void* open_dnnl() {
  static void* const handle = [] {
    const char* soname = "libdnnl.so.3";
    std::istringstream folders(env("TUYERE_LIBRARY_PATH"));
    for (std::string folder; std::getline(folders, folder, ':');) {
      if (folder.empty()) continue;
      if (void* found = open_dnnl_at(folder + "/" + soname)) return found;
    }
    return open_dnnl_at(soname);
  }();
  return handle;
}

}  // namespace tuyere
