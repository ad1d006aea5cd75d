// SPDX-License-Identifier: Apache-2.0
#include "core/network/network.h"

namespace tuyere {

Layout Layout::channels_last(int rank) {
  Layout layout;
  layout.order.push_back(0);
  for (int k = 2; k < rank; ++k) layout.order.push_back(k);
  if (rank > 1) layout.order.push_back(1);
  return layout;
}

std::string str(const Layout& layout) {
  if (layout.is_row_major()) return "";
  std::string text = "@";
  for (size_t k = 0; k < layout.order.size(); ++k) {
    if (k > 0 && layout.order.size() > 10) text += '.';  // beyond ten dimensions digits alone are ambiguous
    text += std::to_string(layout.order[k]);
  }
  if (layout.channel_padding != 1) text += "/p" + std::to_string(layout.channel_padding);
  if (layout.vector_width != 1) text += "/v" + std::to_string(layout.vector_width);
  return text;
}

std::string str(const TensorType& type) { return std::string(name(type.dtype)) + str(type.shape) + str(type.layout); }

}  // namespace tuyere
