// SPDX-License-Identifier: Apache-2.0
// Text of attribute values, by type, and iteration over the fields of an operator.
#pragma once
#include <string>
#include <string_view>
#include <tuple>

#include "kernels/api/ops.h"

namespace tuyere::reflect {

/// Calls `visit(name, member reference)` for each field of `op`.
template <class S, class F>
void for_each_field(S& op, F&& visit) {
  std::apply([&](const auto&... f) { (visit(std::string_view(f.name), op.*(f.member)), ...); }, std::remove_const_t<S>::fields());
}

/// Whether S is a struct of ops.def.
template <class S>
concept Reflected = requires {
  S::fields();
};

/// "0.5", "inf": the shortest text that reads back as the same double.
std::string number_text(double value);
/// "\"a\\n\"": in quotes, with escapes.
std::string quoted(std::string_view text);

/// The position in `text` from `begin` on of the first `stop` outside of quotes, (), [] and {}; text.size() when there is none.
size_t find_outside(std::string_view text, std::string_view stop, size_t begin = 0);
/// Splits at `separator` outside of quotes and brackets, without the blanks around the parts. "" has no parts.
std::vector<std::string_view> split_outside(std::string_view text, std::string_view separator);
std::string_view trimmed(std::string_view text);

}  // namespace tuyere::reflect
