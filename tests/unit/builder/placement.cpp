// SPDX-License-Identifier: Apache-2.0
// What becomes a window and what becomes a copy.
#include "core/builder/placement.h"

#include <gtest/gtest.h>

namespace tuyere {
namespace {

std::string placed(const std::string& text) {
  Network network = parse_network(text);
  Placement placement = place(network);
  std::string first = str(network, 0, placement);
  Network again = network;
  Placement second = place(again);
  EXPECT_EQ(str(again, 0, second), first) << "placement is not idempotent";
  return first;
}

TEST(Strides, Reshape) {
  Dim n = Dim::symbol("n");
  auto strides = [](const Shape& from, std::vector<Dim> s, const Shape& to) {
    auto r = reshape_strides(from, s, to);
    return r ? str(*r) : "copy";
  };
  EXPECT_EQ(strides({2, 3, 4}, {12, 4, 1}, {6, 4}), "[4,1]");
  EXPECT_EQ(strides({2, 3, 4}, {1, 2, 6}, {6, 4}), "copy");
  EXPECT_EQ(strides({2, 3, 4}, {4, 8, 1}, {2, 3, 2, 2}), "[4,8,2,1]");
  EXPECT_EQ(strides({n, 8, 4, 4}, {Dim(128), Dim(1), Dim(32), Dim(8)}, {n, 8, 16}), "[128,1,8]");
  EXPECT_EQ(strides({n, 8, 1, 1}, {Dim(8), Dim(1), Dim(8), Dim(8)}, {n, 8}), "[8,1]");
  EXPECT_EQ(strides({n, 12}, {Dim(24), Dim(1)}, {n, 3, 4}), "[24,4,1]");
  EXPECT_EQ(strides({n, 12}, {Dim(24), Dim(1)}, {n * Dim(12)}), "copy");
  EXPECT_EQ(strides({}, {}, {1, 1}), "[1,1]");
  EXPECT_EQ(strides({3, 0}, {5, 1}, {0, 7}), "[7,1]");
}

TEST(Placement, ViewsAreWindows) {
  EXPECT_EQ(placed(R"(x = input f32[n,8,6]
a = permute(x) perm=[0,2,1]
b = slice(a) axis=1 start=1 end=5 step=2
y = relu(b)
return y)"),
            "b1{16,8,1}:out = pointwise(b0{48,2,6}+1:in)\n");
}

TEST(Placement, ReshapeOfAPermuteIsCopied) {
  EXPECT_EQ(placed(R"(x = input f32[2,8,6]
a = permute(x) perm=[0,2,1]
b = reshape(a) shape=[2,48]
y = relu(b)
return y)"),
            "b1{48,8,1}:out = copy(b0{48,1,6}:in)\n"
            "b1{48,1}:out = pointwise(b1{48,1}:out)\n");
}

TEST(Placement, ExpandReadsWithStrideZero) {
  EXPECT_EQ(placed(R"(x = input f32[1,6]
y = input f32[n,6]
a = expand(x) shape=[n,6]
z = add(a, y)
return z)"),
            "b2{6,1}:out = pointwise(b0{0,1}:in, b1{6,1}:in)\n");
}

TEST(Placement, WhatDrawsRandomNumbersReadsNoValues) {
  EXPECT_EQ(placed(R"(x = input f32[1,1]
p = input f32[6,4]
a = expand(x) shape=[4,6]
y = host_call(a) op="aten::bernoulli" overload="p" args="[]" types=[f32] shapes=[[4,6]]
t = permute(p) perm=[1,0]
z = host_call(t) op="aten::bernoulli" overload="p" args="[]" types=[f32] shapes=[[4,6]]
u = host_call(a) op="aten::frexp" overload="Tensor" args="[]" types=[f32] shapes=[[4,6]]
return y, z, u)"),
            "b2{6,1}:out = host_call(b0{0,0}:in)\n"
            "b3{6,1} = copy(b1{1,4}:in)\n"
            "b4{6,1}:out = host_call(b3{6,1})\n"
            "b5{6,1} = copy(b0{0,0}:in)\n"
            "b6{6,1}:out = host_call(b5{6,1})\n");
}

TEST(Placement, MatMulReadsTransposedButNotRepeated) {
  EXPECT_EQ(placed(R"(x = input f32[4,8]
w = input f32[5,8]
v = permute(w) perm=[1,0]
y = matmul(x, v)
return y)"),
            "b2{5,1}:out = matmul(b0{8,1}:in, b1{1,8}:in)\n");
  EXPECT_EQ(placed(R"(x = input f32[1,8]
w = input f32[8,5]
e = expand(x) shape=[4,8]
y = matmul(e, w)
return y)"),
            "b2{8,1} = copy(b0{0,1}:in)\n"
            "b3{5,1}:out = matmul(b2{8,1}, b1{5,1}:in)\n");
}

TEST(Placement, InPlaceChain) {
  EXPECT_EQ(placed(R"(x = input f32[4,8]
a = exp(x)
b = relu(a)
c = sigmoid(b)
return c)"),
            "b1{8,1}:out = pointwise(b0{8,1}:in)\n"
            "b1{8,1}:out = pointwise(b1{8,1}:out)\n"
            "b1{8,1}:out = pointwise(b1{8,1}:out)\n");
}

TEST(Placement, NotInPlaceWhileStillRead) {
  EXPECT_EQ(placed(R"(x = input f32[4,4]
a = exp(x)
t = permute(a) perm=[1,0]
b = add(a, t)
return b)"),
            "b1{4,1} = pointwise(b0{4,1}:in)\n"
            "b2{4,1}:out = pointwise(b1{4,1}, b1{1,4})\n");
}

TEST(Placement, ConcatIsWrittenInPlace) {
  EXPECT_EQ(placed(R"(x = input f32[n,8]
y = input f32[n,4]
a = relu(x)
b = exp(y)
c = concat(a, b) axis=1
return c)"),
            "b2{12,1}:out = pointwise(b0{8,1}:in)\n"
            "b2{12,1}+8:out = pointwise(b1{4,1}:in)\n");
}

TEST(Placement, ConcatCopiesWhatNobodyWrites) {
  EXPECT_EQ(placed(R"(x = input f32[n,8]
y = input f32[n,4]
a = relu(x)
c = concat(y, a) axis=1
return c)"),
            "b2{12,1}+4:out = pointwise(b0{8,1}:in)\n"
            "b2{12,1}:out = copy(b1{4,1}:in)\n");
}

TEST(Placement, ConcatOfInputsKeepsItsKernel) {
  EXPECT_EQ(placed(R"(x = input f32[n,8]
y = input f32[n,4]
c = concat(x, y) axis=1
return c)"),
            "b2{12,1}:out = concat(b0{8,1}:in, b1{4,1}:in)\n");
}

TEST(Placement, NestedConcats) {
  EXPECT_EQ(placed(R"(x = input f32[2,8]
a = relu(x)
b = exp(x)
c = concat(a, b) axis=0
d = tanh(x)
e = concat(d, c) axis=0
return e)"),
            "b1{8,1}+16:out = pointwise(b0{8,1}:in)\n"
            "b1{8,1}+32:out = pointwise(b0{8,1}:in)\n"
            "b1{8,1}:out = pointwise(b0{8,1}:in)\n");
}

TEST(Placement, ConcatsThatGrowShareTheLastOne) {
  EXPECT_EQ(placed(R"(x = input f32[2,8]
a = relu(x)
b = exp(x)
c = concat(a, b) axis=1
d = tanh(c)
e = concat(a, b, d) axis=1
f = sqrt(e)
h = concat(b, d) axis=1
j = exp(h)
i = concat(d, b) axis=1
k = exp(i)
g = concat(a, b, d, f) axis=1
return g, j, k)"),
            "b1{64,1}:out = pointwise(b0{8,1}:in)\n"
            "b1{64,1}+8:out = pointwise(b0{8,1}:in)\n"
            "b1{64,1}+16:out = pointwise(b1{64,1}:out)\n"
            "b1{64,1}+32:out = pointwise(b1{64,1}:out)\n"
            "b2{24,1}:out = pointwise(b1{64,1}+8:out)\n"
            "b3{24,1}:out = concat(b1{64,1}+16:out, b1{64,1}+8:out)\n"
            "b3{24,1}:out = pointwise(b3{24,1}:out)\n");
}

/// What nobody writes in place is copied once for both.
TEST(Placement, ConcatsThatGrowShareCopies) {
  EXPECT_EQ(placed(R"(x = input f32[2,8]
a = relu(x)
c = concat(x, a) axis=1
d = tanh(c)
e = concat(x, a, d) axis=1
return e)"),
            "b1{32,1}+8:out = pointwise(b0{8,1}:in)\n"
            "b1{32,1}:out = copy(b0{8,1}:in)\n"
            "b1{32,1}+16:out = pointwise(b1{32,1}:out)\n");
}

/// Blocks of pixels that become an image.
TEST(Placement, ConcatOfViews) {
  EXPECT_EQ(placed(R"(x = input f32[2,4,3,5]
y = input f32[2,4,5,2,3]
a = relu(x)
e = exp(y)
t = permute(e) perm=[0,1,3,2,4]
b = reshape(t) shape=[2,8,15]
p = permute(b) perm=[0,2,1]
s = reshape(a) shape=[2,4,15]
u = permute(s) perm=[0,2,1]
c = concat(u, p) axis=2
return c)"),
            "b2{180,1,60,12}:out = pointwise(b0{60,15,5,1}:in)\n"
            "b2{180,2,36,1,12}+4:out = pointwise(b1{120,30,6,3,1}:in)\n");
}

/// A reshape that the slice's strides have no view for.
TEST(Placement, ConcatOfViewsThatDoNotFit) {
  EXPECT_EQ(placed(R"(x = input f32[12]
y = input f32[3,4]
a = relu(x)
b = reshape(a) shape=[3,4]
c = concat(b, y) axis=1
return c)"),
            "b2{1} = pointwise(b0{1}:in)\n"
            "b3{8,1}:out = concat(b2{4,1}, b1{4,1}:in)\n");
}

/// A result that the caller gets is no slice.
TEST(Placement, ConcatsThatCannotShare) {
  EXPECT_EQ(placed(R"(x = input f32[2,8]
a = relu(x)
b = exp(x)
c = concat(a, b) axis=1
d = tanh(c)
e = concat(a, b, d) axis=1
return e, c)"),
            "b1{32,1}:out = pointwise(b0{8,1}:in)\n"
            "b1{32,1}+8:out = pointwise(b0{8,1}:in)\n"
            "b2{16,1}:out = concat(b1{32,1}:out, b1{32,1}+8:out)\n"
            "b1{32,1}+16:out = pointwise(b2{16,1}:out)\n");
}

TEST(Placement, OutputsOwnTheirMemory) {
  EXPECT_EQ(placed(R"(x = input f32[4,8]
a = relu(x)
s = slice(a) axis=0 start=0 end=2
return x, a, a, s)"),
            "b1{8,1}:out = pointwise(b0{8,1}:in)\n"
            "b2{8,1}:out = copy(b0{8,1}:in)\n"
            "b3{8,1}:out = copy(b1{8,1}:out)\n"
            "b4{8,1}:out = copy(b1{8,1}:out)\n");
}

TEST(Placement, LayoutsAreDenseOrders) {
  EXPECT_EQ(placed(R"(x = input f16[2,8,4,4]
w = param f16[16,8,3,3]@0231 "w"
xl@0231 = cast(x) type=f16
y@0231 = conv(xl, w) stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] type=f16
return y)"),
            "b2{72,1,24,8} = copy(b1{72,9,3,1}:const)\n"
            "b3{128,1,32,8} = pointwise(b0{128,16,4,1}:in)\n"
            "b4{256,1,64,16}:out = conv(b3{128,1,32,8}, b2{72,1,24,8})\n");
}

}  // namespace
}  // namespace tuyere
