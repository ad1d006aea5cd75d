// SPDX-License-Identifier: Apache-2.0
// Libraries opened at run time by soname.
#pragma once
#include <initializer_list>
#include <string>

#include "common/status.h"

namespace tuyere {

/// Opens the first soname that is found: in the folders of TUYERE_LIBRARY_PATH, then by the loader (which gives the copy that is already in the process, e.g.
/// PyTorch's). Never closed. FailedPrecondition: "cuDNN cannot be opened: ..." with every attempt.
Result<void*> open_library(const char* product, std::initializer_list<const char*> sonames);

}  // namespace tuyere
