// SPDX-License-Identifier: Apache-2.0
// What decides about an engine besides the network, as text: for cache keys, and for the engine file.
#pragma once
#include <map>
#include <string>

#include "core/builder/builder.h"

namespace tuyere {

/// Versions of tuyere and of the libraries and drivers that its engines for `target` are made with, timed with and run on: {"oneDNN", "3.10.2"}.
/// What is not there is left out.
using Versions = std::map<std::string, std::string>;
Versions library_versions(const Target& target);
/// "cuBLASLt 130200, cuDNN 91900, ..."
std::string str(const Versions& versions);

/// Identifies the code of the builder library itself: rebuilt libraries of one version differ.
const std::string& builder_id();

/// The options that change what is built, as JSON.
std::string options_text(const BuilderConfig& config);

}  // namespace tuyere
