// SPDX-License-Identifier: Apache-2.0
// What the generators of attention's gradients share.
#pragma once

namespace tuyere {

/// The inputs of an AttentionGradient, by position.
enum GradientInput { kDout, kQuery, kKey, kValue, kOut, kLogsumexp, kMask };

}  // namespace tuyere
