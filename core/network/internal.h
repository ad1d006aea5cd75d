// SPDX-License-Identifier: Apache-2.0
// Private to core/network: what building, text form and validator share.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/network/network.h"

namespace tuyere {

// -- names (names.cpp)
/// `wanted`, or `wanted_1`, `wanted_2`, ... when a tensor of the body has that name already.
std::string unique_name(const Body& body, const std::string& wanted);
/// Name of a new layer's output: "<module>/<op>" of its origin, the front end's node, or the op's name.
std::string wanted_name(const Op& op, const Origins& origins);
/// "softmax 'encoder.attn/softmax_1' (aten::_softmax, model.py:88)"
std::string layer_frame(const Op& op, const std::string& name, const Origins& origins);
/// The same of a layer of the network; named after its first output.
std::string layer_frame(const Body& body, const Layer& layer);
/// ops.def's name, or the function's for a Pointwise layer of one function.
std::string_view short_name(const Op& op);

// -- pointwise sugar (pointwise.cpp)
/// The layer for `fn` over inputs of these dtypes with an output of `type`: the arguments are cast to a common compute type where they differ.
Pointwise pointwise_op(Fn fn, std::span<const DType> inputs, DType type);
/// Output type that `y = fn(...)` has when the text does not say; none for a cast.
std::optional<DType> default_type(Fn fn, std::span<const DType> inputs);
/// The function whose sugar gives exactly this layer.
std::optional<Fn> sugar_of(const Pointwise& op, std::span<const DType> inputs);

// -- order (rewrite.cpp)
/// Live layers such that producers come first; among those that are ready, the one that comes first now. Error{Internal} on a cycle.
std::vector<LayerId> topological_order(const Body& body);
/// The bodies that a control layer refers to; pointers into `op` so that they can be renumbered.
std::vector<int64_t*> referenced_bodies(Op& op);
std::vector<int64_t> referenced_bodies(const Op& op);

// -- text (origin_text.cpp)
/// One origin; `node` appends " %<node>".
std::string origin_text(const Origin& origin, bool node);
/// "a (op, file:1); b (op, file:2)" as origin_text wrote it with nodes; none when the text is some other comment.
std::optional<Origins> parse_origins(std::string_view text);

// -- literals (literal_text.cpp)
/// "0.5", "[1, 2, 3]", or "hex:00ff" where numbers would not give the same bytes.
std::string literal_text(const TensorType& type, std::span<const std::byte> data, bool numbers);
/// Inverse. Error{User} on text that does not fit the type.
std::shared_ptr<const std::vector<std::byte>> parse_literal(const TensorType& type, std::string_view text);

}  // namespace tuyere

/// Lexical helpers of the text form (scan.cpp), beside those of kernels/api/op_reflect.h.
namespace tuyere::scan {

/// The name itself when it is a plain word of the grammar, otherwise a quoted string.
std::string word_text(const std::string& name);
/// Position of the bracket that closes the one at `open`. Error{User} when none does.
size_t closing_bracket(std::string_view text, size_t open);
/// Removes `token` from the front.
bool eat(std::string_view& text, std::string_view token);
/// Removes a word or a quoted string from the front and returns its value. Error{User} when there is none.
std::string eat_word(std::string_view& text);
int64_t parse_int(std::string_view text);

}  // namespace tuyere::scan
