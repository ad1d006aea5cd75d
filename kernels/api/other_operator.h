// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace tuyere {

/// Why a tactic says no when its family's list serves several operators and it is not for the problem's: no answer to "why not this kernel", so that
/// lists of reasons leave it out.
inline constexpr const char* kOtherOperator = "the kernel is for another operator";

}  // namespace tuyere
