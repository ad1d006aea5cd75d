// SPDX-License-Identifier: Apache-2.0
// Everything an engine would index with is checked once, when a plan is read.
#pragma once
#include <span>

#include "runtime/plan/plan.h"

namespace tuyere {

/// DataLoss with the place and the reason. `constants` may be nullptr (header-only check): names of constants are then not looked up.
Status validate_plan(const Plan& plan, const PlanConstants* constants);

/// Whether a strided view stays inside `buffer_bytes`; sizes and overflow are checked. Offsets and strides in elements.
bool view_fits(DType dtype, std::span<const int64_t> shape, std::span<const int64_t> strides, int64_t offset, int64_t buffer_bytes);

/// Bytes from the first element of a view (strides >= 0) to the end of its last one; 0 when it is empty. -1 on overflow or negative sizes.
int64_t view_extent(DType dtype, std::span<const int64_t> shape, std::span<const int64_t> strides);

/// Whether code for `target` ("sm_80", "sm_90a") runs on a GPU of this compute capability: "a" means exactly that one, otherwise later minors too.
bool target_runs_on(const std::string& target, int major, int minor);

}  // namespace tuyere
