// SPDX-License-Identifier: Apache-2.0
// Private to core/network: shape and dtype inference, one function per operator.
#pragma once
#include <span>
#include <vector>

#include "core/network/network.h"

namespace tuyere::inference {

using Inputs = std::span<const TensorType>;
using Types = std::vector<TensorType>;

#define OP(S, text, group) Types infer_one(const S& op, Inputs in);
#include "kernels/api/ops.def"
#undef OP

/// Any of them. Error{Internal} for If, While and Call, whose types no op alone can tell.
Types infer_one(const Op& op, Inputs in);
/// infer() without the frame that names the op, for callers that push a better one. If, While and Call take their types from `network`'s bodies.
Types infer_in(const Network& network, const Op& op, Inputs in);
/// Gives an op its one canonical form: axes counted from the front, and per-dimension lists that were left empty filled with their neutral value.
/// What cannot be normalized is left for inference to refuse.
void normalize(Op& op, Inputs in);

}  // namespace tuyere::inference
