// SPDX-License-Identifier: Apache-2.0
// Upsampling and the pixel shuffles.
#include "common/error.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

/// The scale factors the op was called with, or none: then coordinates follow from the sizes.
std::vector<double> scales(const Convert& c, size_t spatial) {
  std::vector<double> out;
  if (c.has("scale_factors")) {
    for (const Arg& item : c.list("scale_factors")) {
      auto* value = std::get_if<double>(&item.v);
      USER_CHECK(value, "scale_factors is not a list of floats");
      out.push_back(*value);
    }
  }
  for (const char* name : {"scales", "scales_d", "scales_h", "scales_w"}) {
    if (c.has(name)) out.push_back(c.number(name));
  }
  USER_CHECK(out.empty() || out.size() == spatial, "scale factors for " << out.size() << " of " << spatial << " dimensions");
  return out;
}

template <ResizeMode mode, int spatial>
void upsample(Convert& c) {
  TensorId x = c.tensor(c.has("self") ? "self" : "input");
  const Shape& out = c.out_type().shape;
  Resize op{.mode = mode,
            .align_corners = c.has("align_corners") && c.boolean("align_corners"),
            .size = Shape(out.end() - spatial, out.end()),
            .scales = scales(c, spatial)};
  c.out(c.add(op, {x}));
}

template <ResizeMode mode, int spatial>
void add_upsample(ConverterTable& t, const std::string& name) {
  t.add("aten::" + name, upsample<mode, spatial>);
  t.add("aten::" + name + ".vec", upsample<mode, spatial>);
}

/// [.., C*r*r, H, W] -> [.., C, H*r, W*r]
void pixel_shuffle(Convert& c) {
  TensorId x = c.tensor("self");
  const int64_t r = c.integer("upscale_factor"), lead = rank_of(c, x) - 3;
  const Shape in = c.type(x).shape, out = c.out_type().shape;
  Shape split(in.begin(), in.begin() + lead);
  split.insert(split.end(), {out[lead], r, r, in[lead + 1], in[lead + 2]});
  std::vector<int64_t> perm;
  for (int64_t k = 0; k < lead; ++k) perm.push_back(k);
  for (int64_t k : {0, 3, 1, 4, 2}) perm.push_back(lead + k);
  c.out(c.reshape(c.permute(c.reshape(x, split), perm), c.out_type().shape));
}

/// [.., C, H*r, W*r] -> [.., C*r*r, H, W]
void pixel_unshuffle(Convert& c) {
  TensorId x = c.tensor("self");
  const int64_t r = c.integer("downscale_factor"), lead = rank_of(c, x) - 3;
  const Shape in = c.type(x).shape, out = c.out_type().shape;
  Shape split(in.begin(), in.begin() + lead + 1);
  split.insert(split.end(), {out[lead + 1], r, out[lead + 2], r});
  std::vector<int64_t> perm;
  for (int64_t k = 0; k < lead; ++k) perm.push_back(k);
  for (int64_t k : {0, 2, 4, 1, 3}) perm.push_back(lead + k);
  c.out(c.reshape(c.permute(c.reshape(x, split), perm), c.out_type().shape));
}

/// [N, g*C, ...]: the groups become the inner part of the channel.
void channel_shuffle(Convert& c) {
  TensorId x = c.tensor("self");
  const int64_t groups = c.integer("groups"), rank = rank_of(c, x);
  const Shape in = c.type(x).shape;
  Shape split(in);
  split[1] = floordiv(in[1], groups);
  split.insert(split.begin() + 1, Dim(groups));
  std::vector<int64_t> perm{0, 2, 1};
  for (int64_t k = 3; k <= rank; ++k) perm.push_back(k);
  c.out(c.reshape(c.permute(c.reshape(x, split), perm), c.out_type().shape));
}

}  // namespace

void add_resize(ConverterTable& t) {
  add_upsample<ResizeMode::nearest, 1>(t, "upsample_nearest1d");
  add_upsample<ResizeMode::nearest, 2>(t, "upsample_nearest2d");
  add_upsample<ResizeMode::nearest, 3>(t, "upsample_nearest3d");
  add_upsample<ResizeMode::linear, 1>(t, "upsample_linear1d");
  add_upsample<ResizeMode::linear, 2>(t, "upsample_bilinear2d");
  add_upsample<ResizeMode::linear, 3>(t, "upsample_trilinear3d");
  add_upsample<ResizeMode::cubic, 2>(t, "upsample_bicubic2d");
  t.add("aten::pixel_shuffle", pixel_shuffle);
  t.add("aten::pixel_unshuffle", pixel_unshuffle);
  add_each(t, {"aten::channel_shuffle", "aten::native_channel_shuffle"}, channel_shuffle);
}

}  // namespace tuyere
