// SPDX-License-Identifier: Apache-2.0
// Data of constants as text.
#include <charconv>
#include <cmath>
#include <cstring>

#include "common/error.h"
#include "core/network/internal.h"
#include "kernels/api/op_reflect.h"

namespace tuyere {
namespace {

std::string number_text(DType type, const std::byte* data, int64_t k) {
  if (type == DType::I64) {
    int64_t value;
    std::memcpy(&value, data + 8 * k, 8);
    return std::to_string(value);
  }
  const double value = load_as_double(type, data, k);
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char text[40];
  // Every shorter float is a float: its shortest text rounds back to it.
  const auto end = type == DType::F64 ? std::to_chars(text, text + sizeof text, value) : std::to_chars(text, text + sizeof text, static_cast<float>(value));
  return is_float(type) ? std::string(text, end.ptr) : std::to_string(static_cast<int64_t>(value));
}

void store_number(DType type, std::byte* data, int64_t k, std::string_view text) {
  if (type == DType::I64) {
    const int64_t value = scan::parse_int(text);
    std::memcpy(data + 8 * k, &value, 8);
    return;
  }
  double value = 0;
  if (text == "true" || text == "false") {
    value = text == "true";
  } else {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    USER_CHECK(error == std::errc() && end == text.data() + text.size(), "expected a number, got '" << text << "'");
  }
  store_from_double(type, data, k, value);
}

std::string hex_text(std::span<const std::byte> data) {
  std::string text = "hex:";
  for (std::byte b : data) {
    text += "0123456789abcdef"[std::to_integer<int>(b) >> 4];
    text += "0123456789abcdef"[std::to_integer<int>(b) & 15];
  }
  return text;
}

void parse_hex(std::vector<std::byte>& data, std::string_view text) {
  USER_CHECK(text.size() == 2 * data.size(), "the constant needs " << 2 * data.size() << " hex digits, got " << text.size());
  for (size_t k = 0; k < data.size(); ++k) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data() + 2 * k, text.data() + 2 * k + 2, value, 16);
    USER_CHECK(error == std::errc() && end == text.data() + 2 * k + 2, "'" << text.substr(2 * k, 2) << "' are no hex digits");
    data[k] = static_cast<std::byte>(value);
  }
}

}  // namespace

std::string literal_text(const TensorType& type, std::span<const std::byte> data, bool numbers) {
  if (!numbers) return hex_text(data);
  const int64_t count = numel(type.shape).value();
  std::string text = type.shape.empty() ? "" : "[";
  for (int64_t k = 0; k < count; ++k) text += (k ? ", " : "") + number_text(type.dtype, data.data(), k);
  if (!type.shape.empty()) text += "]";
  const auto back = parse_literal(type, text);
  return std::equal(back->begin(), back->end(), data.begin(), data.end()) ? text : hex_text(data);  // NaN payloads
}

std::shared_ptr<const std::vector<std::byte>> parse_literal(const TensorType& type, std::string_view text) {
  USER_CHECK(is_static(type.shape), "a constant needs a static shape, got " << str(type.shape));
  const int64_t count = numel(type.shape).value();
  auto data = std::make_shared<std::vector<std::byte>>(bytes_of(type.dtype, count));
  if (scan::eat(text, "hex:")) {
    parse_hex(*data, text);
    return data;
  }
  std::vector<std::string_view> numbers{text};
  if (text.starts_with('[')) {
    USER_CHECK(scan::closing_bracket(text, 0) + 1 == text.size(), "'" << text << "' are no values");
    numbers = reflect::split_outside(text.substr(1, text.size() - 2), ",");
  }
  USER_CHECK(static_cast<int64_t>(numbers.size()) == count, "the constant needs " << count << " values, got " << numbers.size());
  for (int64_t k = 0; k < count; ++k) store_number(type.dtype, data->data(), k, numbers[k]);
  return data;
}

}  // namespace tuyere
