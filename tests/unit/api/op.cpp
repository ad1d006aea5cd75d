// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "common/error.h"
#include "kernels/api/op_reflect.h"
#include "kernels/api/ops.h"

namespace tuyere {
namespace {

/// A value that differs from every default.
void fill(bool& v) { v = !v; }
void fill(int64_t& v) { v = -17; }
void fill(double& v) { v = 0.1; }
void fill(std::string& v) { v = "a \"b\" \\c\n[{}|->], d=e"; }
void fill(DType& v) { v = v == DType::BF16 ? DType::F16 : DType::BF16; }
void fill(Dim& v) { v = Dim::parse("min(n,4)*2+1"); }
void fill(Program& v) { v = parse_program("i0:f32, i1:bool -> v2 = relu(i0); v3 = where(i1, v2, i0); v3, v2"); }
template <class T>
void fill(std::vector<T>& v) {
  v.resize(2);
  for (T& item : v) fill(item);
}
template <class E>
requires std::is_enum_v<E>
void fill(E& v) { v = static_cast<E>(v == static_cast<E>(0)); }

template <class S>
void check_round_trip() {
  S op;
  EXPECT_EQ(str(Op(op)), name(Op(op)));
  EXPECT_EQ(parse_op(str(Op(op))), Op(op));
  reflect::for_each_field(op, [](std::string_view, auto& member) { fill(member); });
  std::string text = str(Op(op));
  EXPECT_EQ(parse_op(text), Op(op)) << text;
  EXPECT_EQ(str(parse_op(text)), text);
  reflect::for_each_field(op, [&](std::string_view field, auto&) { EXPECT_NE(text.find(" " + std::string(field) + "="), std::string::npos) << text; });
}

TEST(Op, EveryOperatorRoundTrips) {
#define OP(S, text, group) check_round_trip<S>();
#include "kernels/api/ops.def"
#undef OP
}

TEST(Op, Text) {
  Conv conv;
  conv.stride = {2, 2};
  conv.pad_before = {1, 1};
  conv.epilogue = parse_program("relu(add(i0:f32,i1:f32))");
  EXPECT_EQ(str(Op(conv)), "conv stride=[2,2] pad_before=[1,1] epilogue={relu(add(i0:f32, i1:f32))}");
  EXPECT_EQ(parse_op("conv  stride=[2, 2] pad_before=[1,1] epilogue={relu(add(i0:f32,i1:f32))}"), Op(conv));
  EXPECT_EQ(str(Op(Reduce{.kind = ReduceKind::var, .axes = {-1}})), "reduce kind=var axes=[-1]");
  Resize resize;
  resize.size = {Dim::symbol("h") * Dim(2), 5};
  resize.scales = {2.0, 1.0 / 3};
  EXPECT_EQ(str(Op(resize)), "resize size=[2*h,5] scales=[2,0.3333333333333333]");
  Pad pad;
  pad.value = -std::numeric_limits<double>::infinity();
  EXPECT_EQ(parse_op(str(Op(pad))), Op(pad));
  EXPECT_EQ(str(Op(Fill{.value = -0.0})), "fill value=-0");
  EXPECT_TRUE(std::signbit(std::get<Fill>(parse_op("fill value=-0")).value));
  EXPECT_EQ(group(Op(Reshape{})), OpGroup::view);
  EXPECT_EQ(group(Op(HostCall{})), OpGroup::control);
  EXPECT_EQ(group(Op(MatMul{})), OpGroup::compute);
}

TEST(Op, Errors) {
  auto message = [](std::string_view text) {
    try {
      parse_op(text);
    } catch (const Error& e) {
      return e.message();
    }
    return std::string("none");
  };
  EXPECT_EQ(message("convolve"), "unknown operator 'convolve'");
  EXPECT_EQ(message("conv strides=[1]"), "operator conv has no field 'strides'");
  for (const char* bad :
       {"conv stride", "conv stride=1", "conv stride=[x]", "reduce kind=median", "reduce keepdim=1", "conv type=f33", "host_call op=x", "slice start=n+"})
    EXPECT_NE(message(bad), "none") << bad;
}

}  // namespace
}  // namespace tuyere
