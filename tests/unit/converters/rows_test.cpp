// SPDX-License-Identifier: Apache-2.0
// One node in, network text out.
#include <gtest/gtest.h>

#include "tests/unit/converters/helpers.h"

namespace tuyere {
namespace {

struct RowCase {
  const char* name;
  const char* source;
  const char* network;
};

const RowCase kCases[] = {
    {"add_alpha",
     R"(graph "g"
%x: f16[n,8] = input
%y: f16[8] = input
%z: f16[n,8] = aten::add.Tensor(self=%x, other=%y, alpha=2)
return %z
)",
     R"(network g
x = input f16[n,8]
y = input f16[8]
pointwise = pointwise(x, y) program={add(i0:f32, mul(i1:f32, 2:f32))} types=[f16]
return pointwise
)"},
    {"int_division_is_float",
     R"(graph "g"
%x: i64[4] = input
%z: f32[4] = aten::div.Tensor(self=%x, other=3)
return %z
)",
     R"(network g
x = input i64[4]
pointwise = pointwise(x) program={div(cast(i0:i64, f32), 3:f32)} types=[f32]
return pointwise
)"},
    {"compare_promotes",
     R"(graph "g"
%x: i32[4] = input
%z: bool[4] = aten::gt.Scalar(self=%x, other=0.5)
return %z
)",
     R"(network g
x = input i32[4]
pointwise = pointwise(x) program={gt(cast(i0:i32, f32), 0.5:f32)} types=[bool]
return pointwise
)"},
    {"conv_bias",
     R"(graph "g"
%x: f32[n,3,8,8]{192,1,24,3} = input
%w: f32[4,3,3,3] = param "w"
%b: f32[4] = param "b"
%z: f32[n,4,8,8] = aten::convolution(input=%x, weight=%w, bias=%b, stride=[1, 1], padding=[1, 1], dilation=[1, 1], transposed=false, output_padding=[0, 0], groups=1)
return %z
)",
     R"(network g
x = input f32[n,3,8,8]@0231
w = param f32[4,3,3,3] "w"
b = param f32[4] "b"
reshape = reshape(b) shape=[4,1,1]
conv = conv(x, w, reshape) stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] epilogue={add(i0:f32, i1:f32)}
return conv
)"},
    {"batch_norm",
     R"(graph "g"
%x: f16[2,4,5,5] = input
%w: f16[4] = param "w"
%b: f16[4] = param "b"
%m: f16[4] = param "m"
%v: f16[4] = param "v"
%z: f16[2,4,5,5], %z1: f16[0], %z2: f16[0] = aten::_native_batch_norm_legit_no_training(input=%x, weight=%w, bias=%b, running_mean=%m, running_var=%v, momentum=0.1, eps=1e-05)
return %z
)",
     R"(network g
x = input f16[2,4,5,5]
w = param f16[4] "w"
b = param f16[4] "b"
m = param f16[4] "m"
v = param f16[4] "v"
pointwise = pointwise(v, w) program={mul(i1:f32, rsqrt(add(i0:f32, 1e-05:f32)))} types=[f32]
pointwise_1 = pointwise(m, pointwise, b) program={sub(i2:f32, mul(i0:f32, i1:f32))} types=[f32]
reshape = reshape(pointwise) shape=[4,1,1]
mul = mul(x, reshape) type=f32
reshape_1 = reshape(pointwise_1) shape=[4,1,1]
add = add(mul, reshape_1) type=f16
return add
)"},
    {"linear",
     R"(graph "g"
%x: f32[2,s,8] = input
%w: f32[16,8] = param "w"
%b: f32[16] = param "b"
%z: f32[2,s,16] = aten::linear(input=%x, weight=%w, bias=%b)
return %z
)",
     R"(network g
x = input f32[2,s,8]
w = param f32[16,8] "w"
b = param f32[16] "b"
matmul = matmul(x, w, b) trans_b=true epilogue={add(i0:f32, i1:f32)}
return matmul
)"},
    {"addmm_scaled",
     R"(graph "g"
%x: f32[2,8] = input
%w: f32[8,16] = param "w"
%b: f32[16] = param "b"
%z: f32[2,16] = aten::addmm(self=%b, mat1=%x, mat2=%w, beta=1, alpha=0.5)
return %z
)",
     R"(network g
x = input f32[2,8]
b = param f32[16] "b"
w = param f32[8,16] "w"
matmul = matmul(x, w, b) epilogue={add(mul(i0:f32, 0.5:f32), i1:f32)}
return matmul
)"},
    {"attention_rank3_mask",
     R"(graph "g"
%q: f16[6,s,16] = input
%k: f16[6,t,16] = input
%v: f16[6,t,16] = input
%m: bool[6,s,t] = input
%z: f16[6,s,16] = aten::scaled_dot_product_attention(query=%q, key=%k, value=%v, attn_mask=%m, dropout_p=0.0, is_causal=false, scale=none, enable_gqa=false)
return %z
)",
     R"(network g
q = input f16[6,s,16]
k = input f16[6,t,16]
v = input f16[6,t,16]
m = input bool[6,s,t]
reshape = reshape(k) shape=[6,1,t,16]
reshape_1 = reshape(v) shape=[6,1,t,16]
reshape_2 = reshape(m) shape=[6,1,s,t]
reshape_3 = reshape(q) shape=[6,1,s,16]
attention = attention(reshape_3, reshape, reshape_1, reshape_2) scale=0.25 has_mask=true type=f16
reshape_4 = reshape(attention) shape=[6,s,16]
return reshape_4
)"},
    {"layer_norm",
     R"(graph "g"
%x: f32[n,8] = input
%w: f32[8] = param "w"
%z: f32[n,8] = aten::layer_norm(input=%x, normalized_shape=[8], weight=%w, bias=none, eps=1e-06, cudnn_enable=false)
return %z
)",
     R"(network g
x = input f32[n,8]
w = param f32[8] "w"
norm = norm(x, w) eps=1e-06 has_weight=true
return norm
)"},
    {"hardtanh",
     R"(graph "g"
%x: f32[4] = input
%z: f32[4] = aten::hardtanh(self=%x, min_val=0.0, max_val=6.0)
return %z
)",
     R"(network g
x = input f32[4]
pointwise = pointwise(x) program={clamp(i0:f32, 0:f32, 6:f32)} types=[f32]
return pointwise
)"},
    {"slice_negative",
     R"(graph "g"
%x: f32[n,8] = input
%z: f32[n,3] = aten::slice.Tensor(self=%x, dim=-1, start=-3, end=9223372036854775807, step=1)
return %z
)",
     R"(network g
x = input f32[n,8]
slice = slice(x) axis=1 start=5 end=8
return slice
)"},
    {"split",
     R"(graph "g"
%x: f32[n,8] = input
%a: f32[n,3], %b: f32[n,3], %z: f32[n,2] = aten::split.Tensor(self=%x, split_size=3, dim=1)
return %a, %b, %z
)",
     R"(network g
x = input f32[n,8]
slice = slice(x) axis=1 end=3
slice_1 = slice(x) axis=1 start=3 end=6
slice_2 = slice(x) axis=1 start=6 end=8
return slice, slice_1, slice_2
)"},
    {"index_not_consecutive",
     R"(graph "g"
%x: f32[4,5,6] = input
%i: i64[7] = input
%j: i64[1] = input
%z: f32[7,5] = aten::index.Tensor(self=%x, indices=[%i, none, %j])
return %z
)",
     R"(network g
x = input f32[4,5,6]
i = input i64[7]
j = input i64[1]
permute = permute(x) perm=[0,2,1]
index = index(permute, i, j) axes=[0,1]
return index
)"},
    {"roll",
     R"(graph "g"
%x: f32[4,5] = input
%z: f32[4,5] = aten::roll(self=%x, shifts=[-1], dims=[0])
return %z
)",
     R"(network g
x = input f32[4,5]
slice = slice(x) start=1 end=4
slice_1 = slice(x) end=1
concat = concat(slice, slice_1)
return concat
)"},
    {"masked_fill",
     R"(graph "g"
%x: f32[4,5] = input
%m: bool[5] = input
%z: f32[4,5] = aten::masked_fill.Scalar(self=%x, mask=%m, value=-inf)
return %z
)",
     R"(network g
x = input f32[4,5]
m = input bool[5]
pointwise = pointwise(m, x) program={where(i0:bool, -inf:f32, i1:f32)} types=[f32]
return pointwise
)"},
    {"tril",
     R"(graph "g"
%x: f32[4,5] = input
%z: f32[4,5] = aten::tril(self=%x, diagonal=1)
return %z
)",
     R"(network g
x = input f32[4,5]
iota = iota() count=4
reshape = reshape(iota) shape=[4,1]
iota_1 = iota() count=5
pointwise = pointwise(iota_1, reshape) program={le(sub(i0:i64, i1:i64), 1:i64)} types=[bool]
pointwise_1 = pointwise(pointwise, x) program={where(i0:bool, i1:f32, 0:f32)} types=[f32]
return pointwise_1
)"},
    {"arange_symbolic",
     R"(graph "g"
%x: f32[n] = input
%z: i64[n] = aten::arange.start_step(start=0, end=dim(n), step=1, dtype=none, layout=none, device=none, pin_memory=none)
return %z
)",
     R"(network g
x = input f32[n]
iota = iota() count=n
return iota
)"},
    {"upsample",
     R"(graph "g"
%x: f32[1,2,4,4] = input
%z: f32[1,2,8,8] = aten::upsample_bilinear2d.vec(input=%x, output_size=none, align_corners=false, scale_factors=[2.0, 2.0])
return %z
)",
     R"(network g
x = input f32[1,2,4,4]
resize = resize(x) mode=linear size=[8,8] scales=[2,2]
return resize
)"},
    {"mean_cast",
     R"(graph "g"
%x: i64[4,5] = input
%z: f32[4] = aten::mean.dim(self=%x, dim=[-1], keepdim=false, dtype=f32)
return %z
)",
     R"(network g
x = input i64[4,5]
cast = cast(x) type=f32
reduce = reduce(cast) kind=mean axes=[1]
return reduce
)"},
    {"max_dim",
     R"(graph "g"
%x: f32[4,5] = input
%a: f32[4], %z: i64[4] = aten::max.dim(self=%x, dim=1, keepdim=false)
return %a, %z
)",
     R"(network g
x = input f32[4,5]
reduce = reduce(x) kind=max axes=[1]
arg_reduce = arg_reduce(x) axis=1
return reduce, arg_reduce
)"},
    {"as_strided",
     R"(graph "g"
%x: f32[2,3,1,1]{3,1,1,1} = input
%z: f32[2,3,1,1] = aten::as_strided(self=%x, size=[2, 3, 1, 1], stride=[3, 1, 3, 3], storage_offset=none)
return %z
)",
     R"(network g
x = input f32[2,3,1,1]
permute = permute(x) perm=[2,3,0,1]
permute_1 = permute(permute) perm=[2,3,0,1]
return permute_1
)"},
    {"index_put_mask",
     R"(graph "g"
%x: f32[4,5] = input
%m: bool[4] = input
%v: f32[] = input
%z: f32[4,5] = aten::index_put(self=%x, indices=[%m], values=%v, accumulate=false)
return %z
)",
     R"(network g
x = input f32[4,5]
m = input bool[4]
v = input f32[]
reshape = reshape(m) shape=[4,1]
where = where(reshape, v, x)
return where
)"},
    {"select_scatter",
     R"(graph "g"
%x: f32[4,5] = input
%s: f32[5] = input
%z: f32[4,5] = aten::select_scatter(self=%x, src=%s, dim=0, index=1)
return %z
)",
     R"(network g
x = input f32[4,5]
s = input f32[5]
reshape = reshape(s) shape=[1,5]
slice = slice(x) end=1
slice_1 = slice(x) start=2 end=4
concat = concat(slice, reshape, slice_1)
return concat
)"},
    {"big_int",
     R"(graph "g"
%x: i64[4] = input
%z: i64[4] = aten::sub.Tensor(self=%x, other=9223372036854775807, alpha=1)
return %z
)",
     R"(network g
x = input i64[4]
int_9223372036854775807 = literal i64[] 9223372036854775807
sub = sub(x, int_9223372036854775807)
return sub
)"},
    {"symbolic_number",
     R"(graph "g"
%x: f32[n] = input
%z: f32[n] = aten::div.Tensor(self=%x, other=dim(n))
return %z
)",
     R"(network g
x = input f32[n]
fill = fill() type=i64 use_dim=true dim=n
pointwise = div(x, fill)
return pointwise
)"},
    {"glu",
     R"(graph "g"
%x: f32[2,8] = input
%z: f32[2,4] = aten::glu(self=%x, dim=-1)
return %z
)",
     R"(network g
x = input f32[2,8]
slice = slice(x) axis=1 end=4
slice_1 = slice(x) axis=1 start=4 end=8
pointwise = pointwise(slice, slice_1) program={mul(i0:f32, sigmoid(i1:f32))} types=[f32]
return pointwise
)"},
    {"identity_output",
     R"(graph "g"
%x: f32[2] = input
%z: f32[2] = aten::clone(self=%x, memory_format=none)
return %z
)",
     R"(network g
x = input f32[2]
pointwise = pointwise(x) program={i0:f32} types=[f32]
return pointwise
)"},
    {"repeat",
     R"(graph "g"
%x: f32[3] = input
%z: f32[2,6] = aten::repeat(self=%x, repeats=[2, 2])
return %z
)",
     R"(network g
x = input f32[3]
reshape = reshape(x) shape=[1,1,1,3]
expand = expand(reshape) shape=[2,1,2,3]
reshape_1 = reshape(expand) shape=[2,6]
return reshape_1
)"},
};

class Rows : public testing::TestWithParam<RowCase> {};

TEST_P(Rows, Convert) { EXPECT_EQ(converted(GetParam().source), GetParam().network); }

INSTANTIATE_TEST_SUITE_P(All, Rows, testing::ValuesIn(kCases), [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace tuyere
