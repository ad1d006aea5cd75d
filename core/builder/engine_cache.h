// SPDX-License-Identifier: Apache-2.0
// Finished engines on disk, shared by torch.compile and ahead-of-time builds.
#pragma once
#include <string>

#include "core/builder/builder.h"

namespace tuyere {

/// 32 hex digits over everything that decides about an engine: the network's text, the content of its constants, the options, the target, and the
/// versions of this library and of those it builds with (describe.h). A timing cache that the user named is part of it, as it is.
std::string engine_key(const Network& network, const BuilderConfig& config, const Target& target);

/// As build(), but takes the engine from config.engine_cache when it is there, runs here and is whole, and puts it there when it is not.
BuiltEngine build_cached(Network network, const BuilderConfig& config);

}  // namespace tuyere
