// SPDX-License-Identifier: Apache-2.0
// Plan <-> JSON. Fields at their defaults are left out; keys come in a fixed order, so equal plans give equal text.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "runtime/plan/plan.h"

namespace tuyere {

/// Name of a blob in the file: a hash of its bytes.
std::string blob_hash(const std::vector<std::byte>& blob);

/// indent < 0: one line. Blobs appear by their hash.
std::string to_json(const Plan& plan, int indent = -1);

/// Finds a blob by its hash; nullptr when there is none. An empty function leaves blobs out (nullptr in StepSpec::blobs).
using FindBlob = std::function<Bytes(const std::string& hash)>;
/// DataLoss on anything malformed, FailedPrecondition on a newer version. The result is not validated yet (validate_plan).
Result<Plan> parse_plan(std::string_view json, const FindBlob& find_blob = {});

}  // namespace tuyere
