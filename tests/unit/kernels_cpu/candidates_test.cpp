// SPDX-License-Identifier: Apache-2.0
// Every candidate against the reference: a kernel line is a test line.
#include <gtest/gtest.h>

#include "tests/unit/kernels_cpu/harness.h"

namespace tuyere::testing_cpu {
namespace {

class Candidates : public ::testing::TestWithParam<const char*> {};

TEST_P(Candidates, MatchReference) { check_against_reference(GetParam()); }

const char* const kPointwise[] = {
    "pointwise program={relu(add(i0:f32, i1:f32))} types=[f32] | f32[3,5,7], f32[3,5,7] -> f32[3,5,7]",
    "pointwise program={add(i0:f32, i1:f32)} types=[f32] | f32[4,33,17], f32[33,1] -> f32[4,33,17]",
    "pointwise program={mul(i0:f32, i1:f32)} types=[f32] | f32[2,16,9,9]{1296,1,144,16}, f32[16,1,1] -> f32[2,16,9,9]{1296,1,144,16}",
    "pointwise program={add(i0:f32, i1:f32)} types=[f32] | f32[700], f32[] -> f32[700]",
    // Operands that repeat from tile to tile.
    "pointwise program={add(mul(i0:f32, i1:f32), i2:f32)} types=[f32] | f32[5,70,24]{1680,24,1}, bf16[24], f32[5,1,24] -> f32[5,70,24]",
    "pointwise program={i0:f32} types=[f32] | f32[2,40,33]{1320,1,40} -> f32[2,40,33]",
    "pointwise program={i0:f32} types=[f32] | f32[5,40,33]{1,165,5} -> f32[5,40,33]",
    "pointwise program={i0:f32} types=[bf16] | f16[6,100] -> bf16[6,100]",
    "pointwise program={i0:i64} types=[i64] | i64[6,7]{1,6} -> i64[6,7]",
    "pointwise program={gelu_erf(i0:f32)} types=[f32] | f32[2000] -> f32[2000]",
    "pointwise program={gelu_tanh(i0:f32)} types=[f32] | f32[2000] -> f32[2000]",
    "pointwise program={silu(i0:f32)} types=[f16] | f16[2000] -> f16[2000]",
    "pointwise program={sigmoid(i0:f32)} types=[bf16] | bf16[333] -> bf16[333]",
    "pointwise program={tanh(exp(i0:f32))} types=[f32] | f32[333] -> f32[333]",
    "pointwise program={log(abs(i0:f32))} types=[f32] | f32[333] -> f32[333]",
    "pointwise program={add(sin(i0:f32), cos(i0))} types=[f32] | f32[333] -> f32[333]",
    "pointwise program={mish(softplus(i0:f32))} types=[f32] | f32[333] -> f32[333]",
    "pointwise program={erf(i0:f64)} types=[f64] | f64[65] -> f64[65]",
    "pointwise program={exp(i0:f64)} types=[f64] | f64[65] -> f64[65]",
    "pointwise program={floor_div(i0:i64, i1:i64)} types=[i64] | i64[65], i64[65] -> i64[65]",
    "pointwise program={remainder(i0:i32, i1:i32)} types=[i32] | i32[65], i32[65] -> i32[65]",
    "pointwise program={where(i0:bool, i1:f32, i2:f32)} types=[f32] | bool[5,1,65], f32[4,65], f32[] -> f32[5,4,65]",
    "pointwise program={logical_and(lt(i0:f32, i1:f32), i2:bool)} types=[bool] | f32[65], f32[1], bool[65] -> bool[65]",
    "pointwise program={bitwise_not(i0:bool)} types=[bool] | bool[65] -> bool[65]",
    "pointwise program={cast(i0:f32, bf16)} types=[f32] | f32[65] -> f32[65]",
    "pointwise program={cast(i0:i64, f32)} types=[f32] | i64[65] -> f32[65]",
    "pointwise program={add(i0:i32, i1:i32)} types=[u8] | u8[3,65], i8[65] -> u8[3,65]",
    "pointwise program={clamp(i0:f32, i1:f32, i2:f32)} types=[f32] | f32[65], f32[], f32[] -> f32[65]",
    "pointwise program={i0:f32, i1:f32 -> v2 = add(i0, i1); v3 = mul(v2, i0); v2, v3} types=[f32,f16] | f32[9,65], f32[65] -> f32[9,65], f16[9,65]",
    "pointwise program={relu(i0:f32)} types=[f32] | f32[0,5] -> f32[0,5]",
    "pointwise program={relu(i0:f32)} types=[f32] | f32[] -> f32[]",
    "pointwise program={relu(i0:f32)} types=[f32] | f32[4,6]{20,3} -> f32[4,6]{1,8}",
    // Pairs of bf16: a factor for every channel or row, one for all, several tiles, gaps and parts of vectors, one operand twice; others take tiles of f32.
    "pointwise program={mul(i0:f32, i1:f32)} types=[bf16] | bf16[2,72,1,1], bf16[2,72,13,11]{10296,1,792,72} -> bf16[2,72,13,11]{10296,1,792,72}",
    "pointwise program={relu(add(mul(i0:f32, i1:f32), i2:f32))} types=[bf16] | bf16[2,72,13,11]{20592,1,1584,144}, const f32[72,1,1], const f32[72,1,1] -> "
    "bf16[2,72,13,11]{10296,1,792,72}",
    "pointwise program={add(i2:f32, mul(i1:f32, i0:f32))} types=[bf16] | bf16[9,77], f32[77], f32[9,1] -> bf16[9,77]",
    "pointwise program={relu(add(mul(i1:f32, i0:f32), i2:f32))} types=[bf16] | f32[2,5,64]{64,128,1}, bf16[2,5,64], f32[2,5,64] -> bf16[2,5,64]",
    "pointwise program={add(mul(i0:f32, i1:f32), i0)} types=[bf16] | bf16[9,77], f32[77] -> bf16[9,77]",
    "pointwise program={sub(i1:f32, i0:f32)} types=[bf16] | bf16[90,1], bf16[90,70]{80,1} -> bf16[90,70]{71,1}",
    "pointwise program={add(i0:f32, i1:f32)} types=[bf16] | bf16[5,3000], bf16[] -> bf16[5,3000]",
    "pointwise program={mul(i0:f32, i0)} types=[bf16] | bf16[9,5] -> bf16[9,5]",
    "pointwise program={add(i0:f32, i1:f32)} types=[bf16] | bf16[30,40]{1,30}, bf16[30,40] -> bf16[30,40]",
    "pointwise program={div(i0:f32, i1:f32)} types=[bf16] | bf16[9,65], bf16[65] -> bf16[9,65]",
};
INSTANTIATE_TEST_SUITE_P(Pointwise, Candidates, ::testing::ValuesIn(kPointwise));

const char* const kReduce[] = {
    "reduce kind=sum axes=[1] | f32[33,700] -> f32[33]",
    "reduce kind=mean axes=[0] | f32[33,700] -> f32[700]",
    "reduce kind=mean axes=[2,3] keepdim=true | f32[2,20,7,9] -> f32[2,20,1,1]",
    "reduce kind=mean axes=[2,3] | f32[2,20,7,9]{1260,1,180,20} -> f32[2,20]",
    "reduce kind=max axes=[0,1,2] | f32[9,40,33] -> f32[]",
    "reduce kind=sum axes=[0,1] | f32[300,701] -> f32[]",
    "reduce kind=min axes=[1] type=f16 | f16[3,50,4] -> f16[3,4]",
    "reduce kind=prod axes=[1] type=i64 | i64[3,5] -> i64[3]",
    "reduce kind=mean axes=[2,3] type=bf16 | bf16[2,72,17,9]{11016,1,648,72} -> bf16[2,72]",
    "reduce kind=var axes=[0] correction=1 type=bf16 | bf16[150,101] -> bf16[101]",
    "reduce kind=max axes=[0] type=bf16 | bf16[33,70] -> bf16[70]",
    "reduce kind=sum axes=[0] type=i64 | i32[30,5] -> i64[5]",
    "reduce kind=sum axes=[1] type=i64 | bool[30,50] -> i64[30]",
    "reduce kind=any axes=[1] type=bool | bool[30,3] -> bool[30]",
    "reduce kind=all axes=[0] type=bool | f32[3,30] -> bool[30]",
    "reduce kind=var axes=[1] correction=1 | f32[7,300] -> f32[7]",
    "reduce kind=var axes=[0,2] correction=1 | f32[7,11,5] -> f32[11]",
    "reduce kind=sum axes=[1] type=f64 | f64[7,300] -> f64[7]",
    "reduce kind=sum axes=[1] prologue={square(sub(i0:f32, i1:f32))} epilogue={mul(sqrt(i0:f32), i1:f32)} | f32[7,300], f32[300], f32[7] -> f32[7]",
    "reduce kind=mean axes=[1] type=bf16 prologue={mul(i0:f32, i1:f32)} | bf16[5,8,40]{320,1,8}, bf16[5,1,40] -> bf16[5,40]",
    // Few columns: many positions of the reduced dims go together.
    "reduce kind=sum axes=[0,2,3] prologue={mul(i0:f32, i1:f32)} | f32[3,20,9,9]{1620,1,180,20}, f32[3,20,9,9]{1620,1,180,20} -> f32[20]",
    "reduce kind=var axes=[0] type=bf16 | bf16[700,2,12]{24,12,1} -> bf16[2,12]",
    "reduce kind=max axes=[0,1] prologue={abs(i0:f32)} | f32[30,40,24]{2000,24,1} -> f32[24]",
    "reduce kind=sum axes=[1] | f32[4,0] -> f32[4]",
    "reduce kind=max axes=[3] | f32[2,3,50,4] -> f32[2,3,50]",
    "arg_reduce kind=argmax axis=1 | f32[5,9] -> i64[5]",
};
INSTANTIATE_TEST_SUITE_P(Reduce, Candidates, ::testing::ValuesIn(kReduce));

const char* const kRows[] = {
    "softmax axis=-1 | f32[9,77] -> f32[9,77]",
    "softmax axis=1 | f32[2,19,5,3] -> f32[2,19,5,3]",
    "softmax axis=1 | f32[2,19,5,3]{285,1,57,19} -> f32[2,19,5,3]",
    "softmax axis=-1 log=true | f32[3,1500] -> f32[3,1500]",
    "softmax axis=-1 type=bf16 | bf16[3,150] -> bf16[3,150]",
    "softmax axis=-1 prologue={add(mul(i0:f32, i1:f32), i2:f32)} | f32[2,3,8,50], f32[], f32[2,1,1,50] -> f32[2,3,8,50]",
    "softmax axis=-1 type=f64 | f64[3,15] -> f64[3,15]",
    "softmax axis=-1 | f32[3,1] -> f32[3,1]",
    "norm kind=layer has_weight=true has_bias=true | f32[7,5,100], f32[100], f32[100] -> f32[7,5,100]",
    "norm kind=layer axes=2 has_weight=true | f32[7,5,100], f32[5,100] -> f32[7,5,100]",
    "norm kind=rms has_weight=true type=f16 | f16[7,1000], f16[1000] -> f16[7,1000]",
    "norm kind=group groups=4 has_weight=true has_bias=true | f32[2,12,5,7], f32[12], f32[12] -> f32[2,12,5,7]",
    // Operands that lie another way than the output, and dims of size 1 between those of a row.
    "norm kind=group groups=4 has_bias=true | f32[16,12]{1,16}, f32[12] -> f32[16,12]",
    "norm kind=group groups=2 has_weight=true | f32[2,8,1,5]{40,1,40,8}, f32[8] -> f32[2,8,1,5]{40,1,40,8}",
    "norm kind=layer axes=3 has_weight=true | f32[2,8,1,5]{40,1,40,8}, f32[8,1,5] -> f32[2,8,1,5]{40,1,40,8}",
    "norm has_weight=true has_bias=true statistics=true | f32[7,5,100], f32[100], f32[100] -> f32[7,5,100], f32[7,5,1], f32[7,5,1]",
    "norm statistics=true type=bf16 | bf16[16,48]{1,16} -> bf16[16,48], f32[16,1], f32[16,1]",
    "norm axes=3 statistics=true | f32[2,8,3,5]{120,1,40,8} -> f32[2,8,3,5]{120,1,40,8}, f32[2,1,1,1], f32[2,1,1,1]",
    "norm has_weight=true statistics=true extra_types=[f32] prologue={i0:f32, i1:f32 -> v2 = add(i0, i1); v2, v2} epilogue={mul(i0:f32, i1:f32)}"
    " | f32[7,100], f32[7,100], f32[100], f32[7,1] -> f32[7,100], f32[7,100], f32[7,1], f32[7,1]",
    "layer_norm_gradient has_weight=true parameters=true | f32[7,50,48], f32[7,50,48], f32[7,50,1], f32[7,50,1], f32[48] -> f32[7,50,48], f32[48], f32[48]",
    "layer_norm_gradient has_weight=true parameters=true parameter_type=bf16 type=bf16 | bf16[70,2100], bf16[70,2100], f32[70,1], f32[70,1], bf16[2100] -> "
    "bf16[70,2100], bf16[2100], bf16[2100]",
    "layer_norm_gradient parameters=true | f32[4,16,20]{320,1,16}, f32[4,16,20], f32[4,16,1], f32[4,16,1] -> f32[4,16,20]{320,1,16}, f32[20], f32[20]",
    "layer_norm_gradient axes=3 has_weight=true parameters=true | f32[2,8,3,5]{120,1,40,8}, f32[2,8,3,5], f32[2,1,1,1], f32[2,1,1,1], f32[8,3,5] -> "
    "f32[2,8,3,5], "
    "f32[8,3,5], f32[8,3,5]",
    "layer_norm_gradient | f32[9,7]{0,1}, f32[9,7], f32[9,1], f32[9,1] -> f32[9,7]",
    "layer_norm_gradient parameters=true | f32[0,7], f32[0,7], f32[0,1], f32[0,1] -> f32[0,7], f32[7], f32[7]",
    "fill type=f32 shape=[7,50] value=0.3 |  -> f32[7,50]",
    "fill type=bf16 shape=[3,4,5] value=-2 |  -> bf16[3,4,5]{20,1,4}",
    "fill type=i64 shape=[3000] value=7 |  -> i64[3000]",
    "fill type=bool shape=[5] value=1 |  -> bool[5]",
    "fill type=f32 shape=[3,4] |  -> f32[3,4]{8,1}",
    "fill type=f32 shape=[0,4] value=1 |  -> f32[0,4]",
    "gather axis=0 | f32[5,3], i64[0] -> f32[0,3]",
    "norm kind=group groups=1 has_weight=true has_bias=true type=bf16 | bf16[2,40,9,7]{2520,1,280,40}, bf16[40], bf16[40] -> bf16[2,40,9,7]{2520,1,280,40}",
    "norm kind=group groups=1 has_weight=true has_bias=true type=bf16 extra_types=[bf16] prologue={i0:f32, i1:f32 -> v2 = add(i0, i1); v2, v2} | "
    "bf16[2,40,9,7]{2520,1,280,40}, bf16[2,40,9,7]{2520,1,280,40}, bf16[40], bf16[40] -> bf16[2,40,9,7]{2520,1,280,40}, bf16[2,40,9,7]{2520,1,280,40}",
    "norm kind=group groups=2 has_bias=true extra_types=[f32] prologue={i0:f32, i1:f32 -> v2 = mul(i0, i1); v2, v2} epilogue={silu(i0:f32)} | "
    "f32[2,40,90,7]{25200,1,280,40}, f32[2,40,90,7]{25200,1,280,40}, f32[40] -> f32[2,40,90,7]{25200,1,280,40}, f32[2,40,90,7]{25200,1,280,40}",
    "norm kind=group groups=24 has_weight=true epilogue={relu(i0:f32)} | f32[2,24,9,7]{1512,1,168,24}, f32[24] -> f32[2,24,9,7]{1512,1,168,24}",
    "norm kind=group groups=2 has_weight=true type=bf16 | bf16[2,24,9,7]{1512,1,168,24}, bf16[24] -> bf16[2,24,9,7]{1512,1,168,24}",
    "norm kind=group groups=4 has_weight=true has_bias=true epilogue={silu(i0:f32)} | f32[2,12,5,7]{420,1,84,12}, f32[12], f32[12] -> "
    "f32[2,12,5,7]{420,1,84,12}",
    "norm kind=layer has_weight=true has_bias=true extra_types=[f32] prologue={i0:f32, i1:f32 -> v2 = add(i0, i1); v2, v2} epilogue={add(relu(i0:f32), i1:f32)}"
    " | f32[7,100], f32[7,100], f32[100], f32[100], f32[7,1] -> f32[7,100], f32[7,100]",
};
INSTANTIATE_TEST_SUITE_P(Rows, Candidates, ::testing::ValuesIn(kRows));

const char* const kMatMul[] = {
    "matmul | f32[7,33], f32[33,19] -> f32[7,19]",
    "matmul trans_b=true epilogue={add(i0:f32, i1:f32)} | f32[3,5,64], const f32[48,64], f32[48] -> f32[3,5,48]",
    "matmul trans_a=true | f32[33,7], f32[33,19] -> f32[7,19]",
    "matmul | f32[2,3,7,33], f32[2,3,33,19] -> f32[2,3,7,19]",
    "matmul trans_b=true | f32[2,7,3,32]{672,32,224,1}, f32[2,7,5,32] -> f32[2,7,3,5]",
    "matmul | f32[4,1,7,33], f32[3,33,19] -> f32[4,3,7,19]",
    "matmul | f32[1,33], const f32[33,19] -> f32[1,19]",
    "matmul epilogue={add(i0:f32, i1:f32)} | f32[2,1,20], const f32[20,2500], f32[2500] -> f32[2,1,2500]",
    "matmul trans_b=true type=bf16 epilogue={relu(i0:f32)} | bf16[2,2,40], const bf16[21,40] -> bf16[2,2,21]",
    "matmul trans_b=true type=bf16 | bf16[1,333], const bf16[45,333]{340,1} -> bf16[1,45]",
    "matmul epilogue={gelu_erf(add(i0:f32, i1:f32))} | f32[7,33], const f32[33,19], f32[19] -> f32[7,19]",
    "matmul epilogue={relu(add(add(i0:f32, i1:f32), i2:f32))} | f32[7,33], const f32[33,19], f32[19], f32[7,19] -> f32[7,19]",
    "matmul epilogue={add(gelu_erf(add(i0:f32, i1:f32)), i2:f32)} | f32[7,33], const f32[33,19], f32[19], f32[7,19] -> f32[7,19]",
    "matmul epilogue={mul(silu(i0:f32), i1:f32)} | f32[7,33], const f32[33,19], f32[7,19] -> f32[7,19]",
    "matmul epilogue={sin(mul(i0:f32, i1:f32))} | f32[2,7,33], f32[2,33,19], f32[2,1,19] -> f32[2,7,19]",
    "matmul epilogue={gt(i0:f32, i1:f32)} type=bool | f32[7,33], f32[33,19], f32[] -> bool[7,19]",
    "matmul type=bf16 epilogue={add(i0:f32, i1:f32)} | bf16[7,33], const bf16[33,19], bf16[19] -> bf16[7,19]",
    "matmul type=f16 epilogue={relu(add(i0:f32, i1:f32))} | f16[7,33], const f16[33,19], f16[19] -> f16[7,19]",
    "matmul | f32[7,33]{99,3}, f32[33,19] -> f32[7,19]{1,7}",
    // sums in parts
    "matmul | f32[7,1100], f32[1100,19] -> f32[7,19]",
    "matmul | f32[70,10]{1,70}, f32[10,80]{96,1} -> f32[70,80]",
    "matmul trans_b=true epilogue={relu(add(i0:f32, i1:f32))} | f32[50,70], f32[130,70]{80,1}, f32[130] -> f32[50,130]",
    "matmul trans_a=true | f32[2,201,7], f32[2,201,48] -> f32[2,7,48]",
    "matmul epilogue={relu(add(i0:f32, i1:f32))} | f32[9,700], const f32[700,400], f32[400] -> f32[9,400]",
    "matmul trans_b=true | f32[20,700], f32[400,700] -> f32[20,400]",
    "matmul | f32[1,40]{40,3}, f32[40,16] -> f32[1,16]",
    "matmul trans_a=true | f32[2,401,7], const f32[401,19] -> f32[2,7,19]",
    "matmul trans_b=true | f32[7,800]{2403,3}, f32[19,800] -> f32[7,19]{1,7}",
    "matmul epilogue={relu(add(add(i0:f32, i1:f32), i2:f32))} | f32[7,900], const f32[900,19], f32[19], f32[7,19] -> f32[7,19]",
    "matmul epilogue={mul(i0:f32, sin(i1:f32))} | f32[2,7,500], f32[2,500,19], f32[2,1,19] -> f32[2,7,19]",
    "matmul type=bf16 epilogue={add(i0:f32, i1:f32)} | f32[7,500], const f32[500,19], f32[19] -> bf16[7,19]",
    "matmul | f32[7,0], f32[0,19] -> f32[7,19]",
    "matmul | f32[0,33], f32[33,19] -> f32[0,19]",
    "matmul type=f64 | f64[7,3], f64[3,9] -> f64[7,9]",
};
INSTANTIATE_TEST_SUITE_P(MatMul, Candidates, ::testing::ValuesIn(kMatMul));

#define GEOMETRY2 "stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] "
#define PIXELS "stride=[1,1] pad_before=[0,0] pad_after=[0,0] dilation=[1,1] "
#define STRIDED2 "stride=[2,2] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] "
#define ONE_SIDED "stride=[2,2] pad_before=[0,1] pad_after=[1,1] dilation=[1,1] "
const char* const kConv[] = {
    "conv " GEOMETRY2 "| f32[2,8,9,11], const f32[16,8,3,3] -> f32[2,16,9,11]",
    // One pixel, and strides of it that say nothing.
    "conv " PIXELS "| f32[1,96,1,1]{96,1,1,1}, const f32[128,96,1,1] -> f32[1,128,1,1]{128,1,128,128}",
    "conv " PIXELS "| f32[1,96,1,1]{96,1,1,1}, const f32[128,96,1,1] -> f32[1,128,1,1]",
    "conv " PIXELS "| f32[3,96,1,5]{480,1,1,96}, const f32[112,96,1,1] -> f32[3,112,1,5]{560,1,1,112}",
    "conv " GEOMETRY2 "epilogue={relu(add(i0:f32, i1:f32))} | f32[2,8,9,11]{792,1,88,8}, const f32[16,8,3,3], f32[16,1,1] -> f32[2,16,9,11]{1584,1,176,16}",
    "conv " STRIDED2
    "epilogue={relu(add(add(i0:f32, i1:f32), i2:f32))} | f32[2,8,9,11]{792,1,88,8}, const f32[16,8,3,3], f32[16,1,1], f32[2,16,5,6]{480,1,96,16}"
    " -> f32[2,16,5,6]{480,1,96,16}",
    "conv " GEOMETRY2 "groups=8 epilogue={silu(i0:f32)} | f32[2,8,9,11]{792,1,88,8}, const f32[8,1,3,3] -> f32[2,8,9,11]{792,1,88,8}",
    "conv " GEOMETRY2 "groups=2 | f32[2,8,9,11], const f32[16,4,3,3] -> f32[2,16,9,11]",
    "conv " GEOMETRY2 "groups=2 | f32[2,8,9,11], f32[16,4,3,3] -> f32[2,16,9,11]",
    "conv " GEOMETRY2 "| f32[3,32,9,11]{3168,1,352,32}, f32[16,32,3,3] -> f32[3,16,9,11]{1584,1,176,16}",
    "conv " GEOMETRY2 "epilogue={relu(add(i0:f32, i1:f32))} | f32[3,32,9,11], f32[16,32,3,3]{9,144,3,1}, f32[16,1,1] -> f32[3,16,9,11]",
    "conv " GEOMETRY2 "| f32[3,32,9,11], f32[16,32,3,3]{0,9,3,1} -> f32[3,16,9,11]",
    // Long sums, which are cut into parts: of each group's channels.
    "conv " GEOMETRY2
    "groups=2 epilogue={relu(add(i0:f32, i1:f32))} | f32[2,96,5,6]{2880,1,576,96}, const f32[64,48,3,3], f32[64,1,1] -> "
    "f32[2,64,5,6]{1920,1,384,64}",
    "conv " GEOMETRY2 "groups=3 | f32[1,120,5,6]{3600,1,720,120}, f32[48,40,3,3] -> f32[1,48,5,6]{1440,1,288,48}",
    "conv " GEOMETRY2 "groups=2 transposed=true | f32[1,160,5,6]{4800,1,960,160}, f32[160,24,3,3] -> f32[1,48,5,6]{1440,1,288,48}",
    "conv " GEOMETRY2 "groups=2 type=bf16 | bf16[2,8,9,11]{792,1,88,8}, bf16[16,4,3,3] -> bf16[2,16,9,11]{1584,1,176,16}",
    "conv " GEOMETRY2 "groups=16 | f32[2,16,9,11]{1584,1,176,16}, f32[16,1,3,3] -> f32[2,16,9,11]{1584,1,176,16}",
    "conv stride=[2,2] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] transposed=true output_padding=[1,1] | f32[2,8,5,6], f32[8,5,3,3] -> f32[2,5,10,12]",
    "conv " STRIDED2 "type=bf16 | bf16[4,1,8,8], bf16[48,1,3,3] -> bf16[4,48,4,4]{768,1,192,48}",
    "conv " GEOMETRY2 "| f32[3,1,8,8], const f32[16,1,3,3] -> f32[3,16,8,8]{1024,1,128,16}",
    "conv " GEOMETRY2 "| f32[3,16,8,8]{1024,1,128,16}, f32[1,16,3,3] -> f32[3,1,8,8]",
    "conv " GEOMETRY2 "| f32[3,1,8,8]{64,1,8,1}, f32[1,1,3,3] -> f32[3,1,8,8]",
    "conv " GEOMETRY2 "| f32[3,1,8,8], const f32[1,1,3,3,16]{144,9,3,1,9} -> f32[3,1,8,8,16]",
    "conv stride=[2] pad_before=[2] pad_after=[2] dilation=[2] epilogue={mul(i0:f32, sigmoid(i1:f32))} | f32[2,8,30], const f32[5,8,3], f32[2,1,15] -> "
    "f32[2,5,15]",
    "conv stride=[1,1,1] pad_before=[0,1,1] pad_after=[0,1,1] dilation=[1,1,1] | f32[1,4,5,6,7], const f32[8,4,3,3,3] -> f32[1,8,3,6,7]",
    "conv stride=[2,2] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] transposed=true output_padding=[1,1] epilogue={add(i0:f32, i1:f32)}"
    " | f32[2,8,5,6], const f32[8,6,3,3], f32[6,1,1] -> f32[2,6,10,12]",
    "conv stride=[2,2] pad_before=[0,0] pad_after=[0,0] dilation=[1,1] transposed=true output_padding=[0,0] groups=2 | f32[2,8,5,6], const f32[8,3,2,2] -> "
    "f32[2,6,10,12]",
    "conv " GEOMETRY2
    "type=bf16 epilogue={relu(add(i0:f32, i1:f32))} | bf16[2,8,9,11]{792,1,88,8}, const bf16[16,8,3,3], bf16[16,1,1] -> bf16[2,16,9,11]{1584,1,176,16}",
    "conv " GEOMETRY2 "type=f16 | f16[2,8,9,11], const f16[16,8,3,3] -> f16[2,16,9,11]",
    "conv " GEOMETRY2 "| f32[2,8,9,11]{1584,99,11,1}, const f32[16,8,3,3] -> f32[2,16,9,11]{3168,99,11,1}",
    "conv " GEOMETRY2 "| f32[0,8,9,11], const f32[16,8,3,3] -> f32[0,16,9,11]",
    "conv " GEOMETRY2 "| f32[2,2,9,11,16], const f32[3,32,3,3,16]{4608,9,3,1,288} -> f32[2,3,9,11,16]",
    "conv stride=[1,1] pad_before=[0,0] pad_after=[0,0] dilation=[1,1] epilogue={silu(i0:f32)} | f32[2,1,9,11,16], const f32[2,16,1,1,16]{256,1,1,1,16}"
    " -> f32[2,2,9,11,16]",
    "conv " STRIDED2
    "epilogue={relu(add(add(i0:f32, i1:f32), i2:f32))} | f32[2,2,9,11,8], const f32[2,16,3,3,8]{1152,9,3,1,144}, f32[2,1,1,8], f32[2,2,5,6,8]"
    " -> f32[2,2,5,6,8]",
    "conv " GEOMETRY2 "epilogue={relu(add(i0:f32, i1:f32))} | f32[2,3,9,11], const f32[2,3,3,3,16]{432,9,3,1,27}, f32[2,1,1,16] -> f32[2,2,9,11,16]",
    "conv " GEOMETRY2 "| f32[2,3,9,11]{297,1,33,3}, const f32[2,3,3,3,16]{432,9,3,1,27} -> f32[2,2,9,11,16]",
    "conv " GEOMETRY2 "groups=32 | f32[2,2,9,11,16], const f32[2,1,3,3,16]{144,9,3,1,9} -> f32[2,2,9,11,16]",
    "conv " GEOMETRY2
    "groups=2 epilogue={mul(i0:f32, sigmoid(i1:f32))} | f32[2,4,9,11,16], const f32[4,32,3,3,16]{4608,9,3,1,288}, f32[2,1,9,11,1]"
    " -> f32[2,4,9,11,16]",
    "conv " GEOMETRY2 "| f32[2,2,9,11,16]{9504,1584,176,16,1}, const f32[2,32,3,3,16]{4608,9,3,1,288} -> f32[2,2,9,11,16]{6336,1584,176,16,1}",
    "conv " GEOMETRY2 "| f32[2,3,9,11,5], const f32[2,15,3,3,7]{945,9,3,1,135} -> f32[2,2,9,11,7]",
    // Windows of 3x3 over whole vectors of channels: odd images, several strips and panels, long sums, cropped and wide borders.
    "conv " GEOMETRY2
    "epilogue={relu(add(add(i0:f32, i1:f32), i2:f32))} | f32[2,3,9,11,16], const f32[5,48,3,3,16]{6912,9,3,1,432}, const f32[1,5,1,1,16], f32[2,5,9,11,16] -> "
    "f32[2,5,9,11,16]",
    // A residual behind the activation, over sums of one part and of several.
    "conv " GEOMETRY2
    "epilogue={add(silu(add(i0:f32, i1:f32)), i2:f32)} | f32[2,3,9,11,16], const f32[5,48,3,3,16]{6912,9,3,1,432}, const f32[1,5,1,1,16], f32[2,5,9,11,16] -> "
    "f32[2,5,9,11,16]",
    "conv " GEOMETRY2
    "epilogue={add(i2:f32, relu(add(i0:f32, i1:f32)))} | f32[2,48,9,11]{4752,1,528,48}, const f32[16,48,3,3], const f32[16,1,1], "
    "f32[2,16,9,11]{1584,1,176,16} -> f32[2,16,9,11]{1584,1,176,16}",
    "conv " GEOMETRY2
    "groups=24 epilogue={add(hardswish(add(i0:f32, i1:f32)), i2:f32)} | f32[2,24,9,11]{2376,1,264,24}, const f32[24,1,3,3], const f32[24,1,1], "
    "f32[2,24,9,11]{2376,1,264,24} -> f32[2,24,9,11]{2376,1,264,24}",
    "conv " GEOMETRY2
    "type=bf16 epilogue={add(silu(add(i0:f32, i1:f32)), i2:f32)} | bf16[2,24,9,11]{2376,1,264,24}, const bf16[16,24,3,3], const bf16[16,1,1], "
    "bf16[2,16,9,11]{1584,1,176,16} -> bf16[2,16,9,11]{1584,1,176,16}",
    "conv " GEOMETRY2 "epilogue={silu(mul(i0:f32, i1:f32))} | f32[1,32,19,70]{42560,1,2240,32}, const f32[72,32,3,3], f32[72,1,1] -> f32[1,72,19,70]",
    "conv stride=[1,1] pad_before=[0,2] pad_after=[1,-1] dilation=[1,1] | f32[3,272,4,7]{7616,1,1904,272}, const f32[16,272,3,3] -> "
    "bf16[3,16,3,6]{288,1,96,16}",
    "conv stride=[1] pad_before=[1] pad_after=[1] dilation=[1] | f32[1,2,30,8], const f32[2,16,3,8]{384,3,1,48} -> f32[1,2,30,8]",
    // Borders of one side, as of models trained elsewhere.
    "conv " ONE_SIDED "epilogue={relu(add(i0:f32, i1:f32))} | f32[2,3,9,11], const f32[2,3,3,3,16]{432,9,3,1,27}, f32[2,1,1,16] -> f32[2,2,4,6,16]",
    "conv " ONE_SIDED "| f32[2,2,9,11,16], const f32[3,32,3,3,16]{4608,9,3,1,288} -> f32[2,3,4,6,16]",
    "conv " ONE_SIDED "groups=32 epilogue={silu(i0:f32)} | f32[2,2,9,11,16], const f32[2,1,3,3,16]{144,9,3,1,9} -> f32[2,2,4,6,16]",
    "conv " ONE_SIDED "groups=24 epilogue={silu(i0:f32)} | f32[2,24,9,11]{2376,1,264,24}, const f32[24,1,3,3] -> f32[2,24,4,6]{576,1,144,24}",
    "conv " ONE_SIDED "groups=24 type=bf16 epilogue={silu(i0:f32)} | bf16[2,24,9,11]{2376,1,264,24}, const bf16[24,1,3,3] -> bf16[2,24,4,6]{576,1,144,24}",
    "conv " ONE_SIDED "type=bf16 | bf16[2,8,9,11]{792,1,88,8}, const bf16[16,8,3,3] -> bf16[2,16,4,6]{384,1,96,16}",
    "conv stride=[1,1] pad_before=[3,0] pad_after=[0,4] dilation=[1,1] | f32[2,2,9,11,16], const f32[2,32,3,3,16]{4608,9,3,1,288} -> f32[2,2,10,13,16]",
    // Leaky ReLUs.
    "conv " GEOMETRY2
    "epilogue={i0:f32, i1:f32, i2:f32 -> v3 = add(i0, i1); v4 = add(v3, i2); v5 = gt(v4, 0:f32); v6 = mul(v4, 0.1:f32); v7 = where(v5, v4, v6); v7} | "
    "f32[2,3,9,11,16], const f32[5,48,3,3,16]{6912,9,3,1,432}, const f32[1,5,1,1,16], f32[2,5,9,11,16] -> "
    "f32[2,5,9,11,16]",
    "conv " GEOMETRY2
    "type=bf16 epilogue={i0:f32, i1:f32 -> v2 = add(i0, i1); v3 = gt(v2, 0:f32); v4 = mul(v2, 0.1:f32); v5 = where(v3, v2, v4); v5} | "
    "bf16[2,8,9,11]{792,1,88,8}, const bf16[48,8,3,3], const f32[48,1,1] -> bf16[2,48,9,11]{4752,1,528,48}",
    "conv " GEOMETRY2
    "groups=32 epilogue={where(gt(i0:f32, 0:f32), i0, mul(i0, 0.1:f32))} | f32[2,2,9,11,16], const f32[2,1,3,3,16]{144,9,3,1,9} -> f32[2,2,9,11,16]",
    "conv " PIXELS
    "epilogue={i0:f32, i1:f32 -> v2 = add(i0, i1); v3 = gt(v2, 0:f32); v4 = mul(v2, 0.1:f32); v5 = where(v3, v2, v4); v5} | f32[2,24,9,11], const "
    "f32[96,24,1,1], const f32[96,1,1] -> f32[2,96,9,11]",
    // bf16 pairs: every end, channels that fill no vector, copies with borders, groups, long sums, an odd channel; sums that stay f32, and blocks.
    "conv " PIXELS
    "type=bf16 epilogue={silu(add(i0:f32, i1:f32))} | bf16[2,24,9,11]{2376,1,264,24}, const bf16[96,24,1,1], const f32[96,1,1] -> "
    "bf16[2,96,9,11]{9504,1,1056,96}",
    "conv " PIXELS
    "type=bf16 epilogue={hardswish(add(i0:f32, i1:f32))} | bf16[1,40,19,70]{53200,1,2800,40}, const bf16[72,40,1,1], const f32[72,1,1] -> "
    "bf16[1,72,19,70]{95760,1,5040,72}",
    "conv " GEOMETRY2
    "type=bf16 epilogue={clamp(add(i0:f32, i1:f32), 0:f32, 0.25:f32)} | bf16[2,8,9,11]{792,1,88,8}, const bf16[48,8,3,3], const f32[48,1,1] -> "
    "bf16[2,48,9,11]{4752,1,528,48}",
    "conv " STRIDED2 "groups=2 type=bf16 epilogue={relu(i0:f32)} | bf16[2,8,9,11]{792,1,88,8}, const bf16[64,4,3,3] -> bf16[2,64,5,6]{1920,1,384,64}",
    "conv " PIXELS
    "type=bf16 epilogue={add(add(i0:f32, i1:f32), i2:f32)} | bf16[2,602,5,6]{18060,1,3612,602}, const bf16[40,602,1,1], const f32[40,1,1], "
    "bf16[2,40,5,6]{1200,1,240,40} -> bf16[2,40,5,6]{1200,1,240,40}",
    "conv " PIXELS "type=bf16 | bf16[2,7,5,6]{210,1,42,7}, const bf16[32,7,1,1] -> bf16[2,32,5,6]{960,1,192,32}",
    "conv " PIXELS "epilogue={silu(i0:f32)} | bf16[2,12,5,6]{360,1,72,12}, const bf16[32,12,1,1] -> f32[2,32,5,6]{960,1,192,32}",
    "conv " PIXELS "type=bf16 epilogue={tanh(i0:f32)} | bf16[2,1,5,6,16], const bf16[2,16,1,1,16]{256,1,1,1,16} -> bf16[2,2,5,6,16]",
    "conv " STRIDED2
    "groups=40 type=bf16 epilogue={silu(add(i0:f32, i1:f32))} | bf16[2,40,9,11]{3960,1,440,40}, const bf16[40,1,3,3], const f32[40,1,1] -> "
    "bf16[2,40,5,6]{1200,1,240,40}",
    "conv " GEOMETRY2 "groups=32 type=bf16 epilogue={relu(i0:f32)} | bf16[2,32,9,11], const bf16[32,1,3,3] -> bf16[2,32,9,11]{3168,1,352,32}",
};
INSTANTIATE_TEST_SUITE_P(Conv, Candidates, ::testing::ValuesIn(kConv));

const char* const kExpandedDepthwise[] = {
    // A channel for each lane; several rows of them, channels of x without weights, strips of lines, long sums.
    "expanded_depthwise " GEOMETRY2
    "expansion={silu(add(i0:f32, i1:f32))} epilogue={relu(add(i0:f32, i1:f32))} | f32[1,1,9,11,16], "
    "const f32[2,16,1,1,16]{256,1,1,1,16}, const f32[2,1,3,3,16]{144,9,3,1,9}, const f32[1,2,1,1,16], const f32[1,2,1,1,16] -> f32[1,2,9,11,16]",
    "expanded_depthwise " STRIDED2
    "expansion={hardswish(add(i0:f32, i1:f32))} epilogue={hardswish(add(i0:f32, i1:f32))} | f32[3,2,57,70,16], "
    "const f32[5,32,1,1,16]{512,1,1,1,32}, const f32[5,1,3,3,16]{144,9,3,1,9}, const f32[1,5,1,1,16], const f32[1,5,1,1,16] -> f32[3,5,29,35,16]",
    "expanded_depthwise stride=[2,1] pad_before=[2,1] pad_after=[1,3] dilation=[1,1] epilogue={clamp(i0:f32, 0:f32, 1:f32)} | f32[2,9,8,13,16], "
    "const f32[3,144,1,1,16]{2304,1,1,1,144}, const f32[3,1,5,5,16]{400,25,5,1,25} -> f32[2,3,4,13,16]",
    "expanded_depthwise " GEOMETRY2 "| f32[1,1,130,200,16], const f32[1,16,1,1,16]{256,1,1,1,16}, const f32[1,1,3,3,16]{144,9,3,1,9} -> f32[1,1,130,200,16]",
    // Borders that are cut off, gaps between taps and windows, one dim, operands that are images.
    "expanded_depthwise stride=[3,3] pad_before=[-1,-2] pad_after=[0,-1] dilation=[1,1] expansion={relu(add(i0:f32, i1:f32))} | f32[2,1,14,15,16], "
    "const f32[1,16,1,1,16]{256,1,1,1,16}, const f32[1,1,2,2,16]{64,4,2,1,4}, f32[2,1,14,15,16] -> f32[2,1,4,4,16]",
    "expanded_depthwise stride=[1,2] pad_before=[2,2] pad_after=[2,4] dilation=[2,3] epilogue={mul(i0:f32, sigmoid(i1:f32))} | f32[2,2,9,12,8], "
    "const f32[3,16,1,1,8]{128,1,1,1,16}, const f32[3,1,3,3,8]{72,9,3,1,9}, f32[2,1,9,6,1] -> f32[2,3,9,6,8]",
    "expanded_depthwise stride=[1] pad_before=[1] pad_after=[1] dilation=[1] expansion={tanh(i0:f32)} | f32[2,1,30,16], const f32[2,16,1,16]{256,1,1,16}, "
    "const f32[2,1,3,16]{48,3,1,3} -> f32[2,2,30,16]",
    // Other forms: channels-last and row-major images, odd channels and blocks, weights that are not known, symbols, nothing.
    "expanded_depthwise " GEOMETRY2
    "expansion={relu(add(i0:f32, i1:f32))} | f32[2,13,9,11]{1287,1,143,13}, const f32[21,13,1,1], const f32[21,1,3,3], "
    "f32[21,1,1] -> f32[2,21,9,11]{2079,1,231,21}",
    "expanded_depthwise " GEOMETRY2
    "expansion={hardswish(i0:f32)} epilogue={hardswish(i0:f32)} | f32[2,100,5,6]{3000,1,600,100}, const f32[40,100,1,1], "
    "const f32[40,1,3,3] -> f32[2,40,5,6]",
    "expanded_depthwise " GEOMETRY2 "| f32[2,13,9,11], const f32[21,13,1,1], const f32[21,1,3,3] -> f32[2,21,9,11]",
    "expanded_depthwise " GEOMETRY2
    "epilogue={add(i0:f32, i1:f32)} | f32[2,3,9,11,5], const f32[3,15,1,1,7]{105,1,1,1,15}, const f32[3,1,3,3,7]{63,9,3,1,9}, "
    "f32[2,3,9,11,7] -> f32[2,3,9,11,7]",
    "expanded_depthwise " GEOMETRY2 "| f32[2,1,9,11,16], f32[2,16,1,1,16], f32[2,1,3,3,16] -> f32[2,2,9,11,16]",
    "expanded_depthwise " GEOMETRY2
    "expansion={silu(i0:f32)} | f32[n,1,s,s,16], const f32[2,16,1,1,16]{256,1,1,1,16}, const f32[2,1,3,3,16]{144,9,3,1,9} -> "
    "f32[n,2,s,s,16] | n=2 s=10",
    "expanded_depthwise " GEOMETRY2 "| f32[0,1,9,11,16], const f32[2,16,1,1,16], const f32[2,1,3,3,16] -> f32[0,2,9,11,16]",
};
INSTANTIATE_TEST_SUITE_P(ExpandedDepthwise, Candidates, ::testing::ValuesIn(kExpandedDepthwise));

/// Pairs in bf16. The image between two convolutions is rounded where it is made: by 2^-5 where its values are up to 16, and a window adds nine of them up.
class ShortPairs : public ::testing::TestWithParam<const char*> {};

TEST_P(ShortPairs, MatchReference) { check_against_reference(GetParam(), {.apart = 0.3}); }

const char* const kShortPairs[] = {
    // Pairs of channels, an odd one, channels that fill no vector, long sums, functions and operands that the loops do not know.
    "expanded_depthwise " GEOMETRY2
    "type=bf16 expansion={silu(add(i0:f32, i1:f32))} epilogue={silu(add(i0:f32, i1:f32))} | bf16[2,24,9,11]{2376,1,264,24}, "
    "const bf16[96,24,1,1], const bf16[96,1,3,3], const f32[96,1,1], const f32[96,1,1] -> bf16[2,96,9,11]{9504,1,1056,96}",
    "expanded_depthwise " STRIDED2
    "type=bf16 expansion={i0:f32, i1:f32 -> v2 = add(i0, i1); v3 = gt(v2, 0:f32); v4 = mul(v2, 0.1:f32); v5 = where(v3, v2, v4); v5} epilogue={i0:f32, i1:f32 "
    "-> v2 = add(i0, i1); v3 = gt(v2, 0:f32); v4 = mul(v2, 0.1:f32); v5 = where(v3, v2, v4); v5} | bf16[1,7,57,70]{27930,1,490,7}, "
    "const bf16[40,7,1,1], const bf16[40,1,3,3], const f32[40,1,1], const f32[40,1,1] -> bf16[1,40,29,35]{40600,1,1400,40}",
    "expanded_depthwise " STRIDED2
    "type=bf16 expansion={relu(add(i0:f32, i1:f32))} epilogue={hardswish(add(i0:f32, i1:f32))} | bf16[1,7,57,70]{27930,1,490,7}, "
    "const bf16[40,7,1,1], const bf16[40,1,3,3], const f32[40,1,1], const f32[40,1,1] -> bf16[1,40,29,35]{40600,1,1400,40}",
    "expanded_depthwise " GEOMETRY2
    "type=bf16 expansion={gelu_tanh(i0:f32)} epilogue={tanh(add(i0:f32, i1:f32))} | bf16[2,130,9,11]{12870,1,1430,130}, "
    "const bf16[48,130,1,1], const bf16[48,1,3,3], bf16[2,48,9,11]{4752,1,528,48} -> bf16[2,48,9,11]{4752,1,528,48}",
    "expanded_depthwise " GEOMETRY2 "type=bf16 | bf16[2,4,9,11], const bf16[32,4,1,1], const bf16[32,1,3,3] -> bf16[2,32,9,11]",
};
INSTANTIATE_TEST_SUITE_P(ExpandedDepthwise, ShortPairs, ::testing::ValuesIn(kShortPairs));

const char* const kLayout[] = {
    "reshape shape=[12,5] | f32[3,4,5] -> f32[12,5]",
    "reshape shape=[5,12] | f16[3,4,5]{1,15,3} -> f16[5,12]",
    "reshape shape=[5,12] | f16[3,4,5] -> f16[5,12]{1,5}",
    "permute perm=[2,0,1] | bf16[30,40,5] -> bf16[5,30,40]",
    "expand shape=[3,4,5] | i64[4,1] -> i64[3,4,5]",
    "slice axis=1 start=2 end=9 step=3 | f64[3,10,4] -> f64[3,3,4]",
    "flip axes=[0,2] | f32[3,4,5] -> f32[3,4,5]",
    "concat axis=1 | f32[2,3,7], f32[2,0,7], f32[2,5,7]{35,1,5} -> f32[2,8,7]",
    "concat axis=1 | u8[2,3], u8[2,1] -> u8[2,4]{9,2}",
    "pad before=[0,1,-1] after=[0,2,3] value=-1.5 | f32[2,3,7] -> f32[2,6,9]",
    "pad before=[0,1] after=[0,2] value=3 | i8[2,3] -> i8[2,6]",
    "adaptive_pool kind=avg out=[1,1] | f32[2,5,7,3]{105,1,15,5} -> f32[2,5,1,1]",
    "adaptive_pool kind=max out=[1,1] | f32[2,5,7,3] -> f32[2,5,1,1]",
    "gather axis=0 | f32[5,17], i64[2,3] -> f32[2,3,17]",
    "gather axis=1 | bf16[3,5,2], i32[4] -> bf16[3,4,2]",
    "gather axis=1 | f32[3,5], i64[] -> f32[3]",
    "resize mode=nearest size=[7,9] | f32[2,3,4,5] -> f32[2,3,7,9]",
    "resize mode=linear size=[7,9] | f32[2,3,4,5]{60,1,15,3} -> f32[2,3,7,9]{189,1,27,3}",
    "resize mode=linear align_corners=true size=[7,9] scales=[1.75,1.8] | f32[2,3,4,5] -> f32[2,3,7,9]",
    "resize mode=cubic size=[7,9] | f16[2,3,4,5] -> f16[2,3,7,9]",
    "resize mode=linear size=[3,2,5] | f32[1,2,2,4,4] -> f32[1,2,3,2,5]",
    "resize mode=linear size=[3] scales=[0.7] | f32[1,2,5] -> f32[1,2,3]",
};
INSTANTIATE_TEST_SUITE_P(Layout, Candidates, ::testing::ValuesIn(kLayout));

const char* const kPool[] = {
    "pool kind=max kernel=[3,3] stride=[2,2] pad=[1,1] dilation=[1,1] | f32[2,8,9,11] -> f32[2,8,5,6]",
    "pool kind=max kernel=[3,3] stride=[2,2] pad=[1,1] dilation=[1,1] | f32[2,8,9,11]{792,1,88,8} -> f32[2,8,5,6]{240,1,48,8}",
    "pool kind=avg kernel=[3,3] stride=[2,2] pad=[1,1] dilation=[1,1] | f32[2,8,9,11] -> f32[2,8,5,6]",
    "pool kind=avg kernel=[3,3] stride=[2,1] pad=[1,1] dilation=[1,2] count_include_pad=false | f32[2,19,9,11]{1881,1,209,19} -> f32[2,19,5,9]{855,1,171,19}",
    "pool kind=avg kernel=[3,3] stride=[1,1] pad=[1,1] count_include_pad=false | bf16[2,48,9,11]{4752,1,528,48} -> bf16[2,48,9,11]{4752,1,528,48}",
    "pool kind=max kernel=[3,3] stride=[2,2] pad=[0,0] dilation=[1,1] ceil_mode=true | bf16[2,19,9,12]{2052,1,228,19} -> bf16[2,19,4,6]{456,1,114,19}",
    "pool kind=max kernel=[3,3] stride=[2,2] pad=[1,1] dilation=[1,1] | bf16[2,40,9,11]{3960,1,440,40} -> bf16[2,40,5,6]{2400,1,480,80}",
    "pool kind=avg kernel=[3,2] stride=[2,1] pad=[1,1] dilation=[1,3] | bf16[2,19,9,11]{1881,1,209,19} -> bf16[2,19,5,10]{950,1,190,19}",
    "pool kind=avg kernel=[2,2,3] stride=[1,2,1] pad=[0,1,1] divisor=5 | bf16[1,33,4,5,6]{3960,1,990,198,33} -> bf16[1,33,3,3,6]{1782,1,594,198,33}",
    "adaptive_pool kind=avg out=[2,3] | bf16[2,24,7,8]{1344,1,192,24} -> bf16[2,24,2,3]{144,1,72,24}",
    "pool kind=max kernel=[3] stride=[2] pad=[1] dilation=[1] | f32[2,16,11]{176,1,16} -> f32[2,16,6]{96,1,16}",
    "pool kind=avg kernel=[2,2] stride=[2,2] pad=[0,0] dilation=[1,1] count_include_pad=false ceil_mode=true | f32[2,8,9,11] -> f32[2,8,5,6]",
    "pool kind=max kernel=[2,2] stride=[2,2] pad=[0,0] dilation=[1,1] ceil_mode=true | f32[2,8,9,11] -> f32[2,8,5,6]",
    "pool kind=max kernel=[2,2] stride=[2,2] pad=[0,0] dilation=[1,1] | f32[2,8,9,11] -> f32[2,8,4,5]",
    "pool kind=max kernel=[3,3] stride=[2,2] pad=[1,1] dilation=[1,1] with_indices=true | f32[2,8,9,11] -> f32[2,8,5,6], i64[2,8,5,6]",
    "pool kind=max kernel=[3,2] stride=[2,1] pad=[1,1] dilation=[2,3] with_indices=true | f32[2,19,9,11]{1881,1,209,19} -> f32[2,19,4,10]{760,1,190,19}, "
    "i64[2,19,4,10]",
    "pool kind=max kernel=[2,2] stride=[2,2] pad=[0,0] dilation=[1,1] ceil_mode=true with_indices=true | bf16[2,8,9,11]{792,1,88,8} -> bf16[2,8,5,6], "
    "i64[2,8,5,6]{240,1,48,8}",
    "pool_gradient kernel=[3,2] stride=[2,2] pad=[1,0] size=[7,8] | f32[2,5,4,4] -> f32[2,5,7,8]",
    "pool_gradient kernel=[3,3] stride=[2,2] pad=[1,1] count_include_pad=false size=[8,8] | bf16[2,100,4,4]{1600,1,400,100} -> bf16[2,100,8,8]{6400,1,800,100}",
    "pool_gradient kernel=[2,2,2] stride=[2,2,1] pad=[0,0,0] divisor=3 size=[4,5,3] | f32[1,2,2,2,2] -> f32[1,2,4,5,3]",
    "pool_gradient size=[7,9] | f32[2,3,3,4]{36,1,12,3} -> f32[2,3,7,9]",
    "pool_gradient kind=max size=[2,3] | f32[2,20,4,4]{320,1,80,20}, i64[2,20,4,4] -> f32[2,20,2,3]{120,1,60,20}",
    "pool_gradient kind=max size=[5] | f32[3,4,2], i64[3,4,2] -> f32[3,4,5]",
    "adaptive_pool kind=max out=[2,3] | f32[2,5,7,8]{280,56,8,1} -> f32[2,5,2,3], i64[2,5,2,3]",
};
const char* const kWeightGradient[] = {
    "conv_weight_gradient kernel=[3,3] stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] | f32[2,20,5,6]{600,1,120,20}, "
    "f32[2,16,5,6]{480,1,96,16} -> f32[20,16,3,3]",
    "conv_weight_gradient kernel=[3,2] stride=[2,1] pad_before=[1,0] pad_after=[1,0] dilation=[1,2] groups=2 | f32[2,6,3,4], f32[2,4,6,6] -> f32[6,2,3,2]",
    "conv_weight_gradient kernel=[3] stride=[2] pad_before=[0] pad_after=[0] dilation=[1] type=bf16 | bf16[2,8,4], bf16[2,16,10] -> bf16[8,16,3]",
    "conv_weight_gradient kernel=[1,1] stride=[1,1] pad_before=[0,0] pad_after=[0,0] dilation=[1,1] | f32[2,20,12,15]{3600,1,300,20}, "
    "f32[2,16,12,15]{2880,1,240,16} -> f32[20,16,1,1]",
    "conv_weight_gradient kernel=[1] stride=[1] pad_before=[0] pad_after=[0] dilation=[1] | f32[2,6,7], f32[2,5,7] -> f32[6,5,1]",
    "conv_weight_gradient kernel=[1] stride=[1] pad_before=[0] pad_after=[0] dilation=[1] | f32[1,6,400], f32[1,5,400] -> f32[6,5,1]",
    "conv_weight_gradient kernel=[2,2,2] stride=[1,1,1] pad_before=[0,0,0] pad_after=[0,0,0] dilation=[1,1,1] | f32[1,3,2,3,2], f32[1,1,3,4,3] -> "
    "f32[3,1,2,2,2]",
    "conv_weight_gradient kernel=[3,3] stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] groups=16 | f32[2,16,5,5]{400,1,80,16}, "
    "f32[2,16,5,5]{400,1,80,16} -> f32[16,1,3,3]",
    "conv_weight_gradient kernel=[7] stride=[1] pad_before=[3] pad_after=[3] dilation=[1] | f32[3,40,1500]{60000,1,40}, f32[3,1,1500] -> f32[40,1,7]",
    "conv_weight_gradient kernel=[3] stride=[2] pad_before=[1] pad_after=[0] dilation=[3] | f32[2,5,70], f32[2,1,145] -> f32[5,1,3]",
    "conv_weight_gradient kernel=[3,2] stride=[2,1] pad_before=[2,0] pad_after=[1,0] dilation=[1,2] | f32[2,33,9,11]{3267,1,363,33}, f32[2,5,17,13] -> "
    "f32[33,5,3,2]{30,6,2,1}",
    "conv_weight_gradient kernel=[3,3] stride=[2,2] pad_before=[0,0] pad_after=[0,0] dilation=[1,1] | f32[1,16,12,13]{2496,1,208,16}, "
    "f32[1,20,26,28]{14560,1,560,20} -> f32[16,20,3,3]",
    "conv_weight_gradient kernel=[1,1] stride=[2,2] pad_before=[0,0] pad_after=[0,0] dilation=[1,1] | f32[3,24,7,8]{1344,1,192,24}, "
    "f32[3,18,13,16]{3744,1,288,18} -> f32[24,18,1,1]",
    "conv_weight_gradient kernel=[2,3,2] stride=[1,1,2] pad_before=[1,0,1] pad_after=[0,1,0] dilation=[1,1,1] | f32[1,1,6,5,6], f32[1,4,6,6,12] -> "
    "f32[1,4,2,3,2]",
};
INSTANTIATE_TEST_SUITE_P(WeightGradient, Candidates, ::testing::ValuesIn(kWeightGradient));

const char* const kAttention[] = {
    // Panels: parts of the last one, odd pairs, more rows than sums, one direction and two, either order of batch and time, gaps. Few times where there are
    // many units:
    // such weights make errors grow from one to the next.
    "recurrent | f32[5,3,192], f32[192,48], f32[192], f32[1,3,48], f32[1,3,48] -> f32[5,3,48], f32[1,3,48], f32[1,3,48]",
    "recurrent directions=2 batch_first=true | f32[61,4,168], const f32[168,21], const f32[168], f32[2,61,21], f32[2,61,21] -> f32[61,4,42], f32[2,61,21], "
    "f32[2,61,21]",
    "recurrent batch_first=true | f32[1,2,1600]{9600,1600,1}, const f32[1600,400], f32[1600], f32[1,1,400], f32[1,1,400] -> f32[1,2,400], f32[1,1,400], "
    "f32[1,1,400]",
    "recurrent directions=2 batch_first=true type=bf16 | f32[7,5,264], const bf16[264,33], const bf16[264], bf16[2,7,33], bf16[2,7,33] -> bf16[7,5,66], "
    "bf16[2,7,33], bf16[2,7,33]",
    "recurrent type=bf16 | bf16[5,2,64], bf16[64,16], bf16[64], f32[1,2,16], f32[1,2,16] -> bf16[5,2,16], bf16[1,2,16], bf16[1,2,16]",
    "recurrent kind=gru directions=2 | f32[5,3,240]{1000,300,1}, f32[240,40], f32[240], f32[2,3,40] -> f32[5,3,80]{320,100,1}, f32[2,3,40]",
    "recurrent kind=gru batch_first=true type=bf16 | f32[3,4,105], const bf16[105,35], bf16[105], bf16[1,3,35] -> bf16[3,4,35], bf16[1,3,35]",
    "recurrent kind=relu directions=2 | f32[1,50,140], f32[140,70], f32[140], f32[2,50,70] -> f32[1,50,140], f32[2,50,70]",
    "recurrent kind=tanh type=bf16 | f32[3,5,30], bf16[30,30], bf16[30], bf16[1,5,30] -> bf16[3,5,30], bf16[1,5,30]",
    "recurrent kind=tanh | f32[3,2,4]{2,12,6}, f32[4,4], f32[4], f32[1,2,4] -> f32[3,2,4]{1,3,6}, f32[1,2,4]",
    "recurrent kind=tanh | f32[3,0,4], f32[4,4], f32[4], f32[1,0,4] -> f32[3,0,4], f32[1,0,4]",
    "attention scale=0.125 | f32[2,3,70,64], f32[2,3,150,64], f32[2,3,150,64] -> f32[2,3,70,64]",
    "attention scale=0.1 | f32[1,2,50,256], f32[1,1,600,256], f32[1,1,600,256] -> f32[1,2,50,256]",
    "attention scale=0.2 causal=true | f32[1,4,130,24], f32[1,2,130,24], f32[1,2,130,40] -> f32[1,4,130,40]",
    "attention scale=0.2 has_mask=true | f32[2,2,9,24], f32[2,2,20,24], f32[2,2,20,24], f32[2,1,1,20] -> f32[2,2,9,24]",
    "attention scale=0.2 has_mask=true | f32[2,2,9,24], f32[2,2,20,24], f32[2,2,20,24], bool[9,20] -> f32[2,2,9,24]",
    "attention scale=0.2 has_mask=true | f32[6,2,9,24], f32[6,2,20,24], f32[6,2,20,24], f32[3,2,9,20] -> f32[6,2,9,24]",
    "attention scale=0.2 type=bf16 | bf16[1,1,5,32]{160,32,32,1}, bf16[1,1,9,32], bf16[1,1,9,32] -> bf16[1,1,5,32]",
    // Pairs of bf16: several blocks of queries and keys, odd numbers of both, shared heads, masks, values of another width; an odd depth has none.
    "attention scale=0.125 type=bf16 | bf16[2,4,131,64]{33536,64,256,1}, bf16[2,2,269,64]{34432,64,128,1}, bf16[2,2,269,64]{34432,64,128,1} -> "
    "bf16[2,4,131,64]{33536,64,256,1}",
    "attention scale=0.3 causal=true type=bf16 | bf16[1,2,61,40], bf16[1,2,61,40], bf16[1,2,61,24] -> bf16[1,2,61,24]",
    "attention scale=0.3 has_mask=true type=bf16 | bf16[1,2,50,16], bf16[1,2,33,16], bf16[1,2,33,16], f32[1,1,50,33] -> bf16[1,2,50,16]",
    "attention scale=0.3 type=bf16 | bf16[1,2,20,7], bf16[1,2,33,7], bf16[1,2,33,16] -> bf16[1,2,20,16]",
    "attention scale=0.2 | f32[2,4,1,32]{128,32,128,1}, f32[2,2,300,32]{19200,32,64,1}, f32[2,2,300,32]{19200,32,64,1} -> f32[2,4,1,32]{128,32,128,1}",
    "attention scale=1 | f32[1,1,4,8], f32[1,1,0,8], f32[1,1,0,8] -> f32[1,1,4,8]",
    "attention scale=0.2 logsumexp=true | f32[2,2,130,24]{9360,24,72,1}, f32[2,2,140,24], f32[2,2,140,24] -> f32[2,2,130,24], f32[2,2,130]{260,1,2}",
    "attention scale=0.2 has_mask=true logsumexp=true | f32[1,2,9,24], f32[1,2,20,24], f32[1,2,20,24], f32[20] -> f32[1,2,9,24], f32[1,2,9]",
    "attention_gradient scale=0.2 has_mask=true | f32[2,2,9,24], f32[2,2,9,24], f32[2,2,20,24], f32[2,2,20,24], f32[2,2,9,24], f32[2,2,9], f32[2,1,1,20] -> "
    "f32[2,2,9,24], f32[2,2,20,24], f32[2,2,20,24]",
    "attention_gradient scale=0.2 causal=true has_mask=true type=bf16 | bf16[1,1,5,32], bf16[1,1,5,32], bf16[1,1,9,32], bf16[1,1,9,32], bf16[1,1,5,32], "
    "f32[1,1,5], bool[5,9] -> bf16[1,1,5,32], bf16[1,1,9,32], bf16[1,1,9,32]",
    "attention_gradient scale=1 | f32[1,1,4,8], f32[1,1,4,8], f32[1,1,0,8], f32[1,1,0,8], f32[1,1,4,8], f32[1,1,4] -> f32[1,1,4,8], f32[1,1,0,8], f32[1,1,0,8]",
};
INSTANTIATE_TEST_SUITE_P(Attention, Candidates, ::testing::ValuesIn(kAttention));

INSTANTIATE_TEST_SUITE_P(Pool, Candidates, ::testing::ValuesIn(kPool));

}  // namespace
}  // namespace tuyere::testing_cpu
