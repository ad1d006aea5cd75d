// SPDX-License-Identifier: Apache-2.0
// CUDA source to machine code with NVRTC, opened at run time by soname.
#pragma once
#include <string>
#include <vector>

#include "kernels/api/step.h"

namespace tuyere {

/// The library's version, e.g. 13000 for 13.0; throws Error{User} naming the folders searched when there is no NVRTC.
int nvrtc_version();
/// Whether NVRTC can be opened.
bool has_nvrtc();

/// Machine code of `source` for `arch` ("sm_80", "sm_90a", "sm_100a"), through the in-memory and on-disk caches. Thread-safe.
/// `options`: further NVRTC options ("-use_fast_math"). Throws Error{Internal} with the log and the source lines it names.
Bytes compile_cubin(const std::string& source, const std::string& arch, const std::vector<std::string>& options = {});

/// The same without the caches.
std::vector<std::byte> compile_uncached(const std::string& source, const std::string& arch, const std::vector<std::string>& options);

}  // namespace tuyere
