// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "common/error.h"
#include "converters/source/source.h"

namespace tuyere {
namespace {

constexpr const char* kGraph = R"(graph "net \"a\""
%x: f32[n,3,8,8]{192,64,8,1}@cuda:0 = input
%n: dim(n) = input
%w: f32[4,3,3,3] = param "conv.weight"
%c: i64[] = literal "lifted_0"
%y: f32[n,4,6,6] = aten::convolution(input=%x, weight=%w, bias=none, stride=[1, 1], padding=[0, 0], transposed=false, groups=1) name="conv" module="stem.conv" source="m.py:3"
%a: f32[2,2*n], %b: ? = aten::things(s=inf, t=-inf, u=0.5, v=-3, d=dim(2*n+1), e=f16, k="text \\ \"q\"", l=[%y, none, [1, -2.5]], v2=1e-05) name="t" origin="aten::other" node="scope"
aten::check(self=%a) name="chk" !mutates !side_effect !draws
return %y, none, %y
)";

TEST(SourceText, RoundTrip) {
  SourceGraph g = parse_source_graph(kGraph);
  EXPECT_EQ(str(g), kGraph);
  EXPECT_EQ(str(parse_source_graph(str(g))), str(g));
}

TEST(SourceText, Fields) {
  SourceGraph g = parse_source_graph(kGraph);
  EXPECT_EQ(g.name, "net \"a\"");
  ASSERT_EQ(g.nodes.size(), 3u);
  EXPECT_EQ(g.inputs.size(), 2u);
  EXPECT_TRUE(g.values[g.inputs[1]].is_dim);
  EXPECT_EQ(g.values[g.inputs[0]].device, "cuda:0");
  EXPECT_EQ(g.values[g.inputs[0]].strides.size(), 4u);
  EXPECT_TRUE(g.constants[0].param);
  EXPECT_FALSE(g.constants[1].param);
  EXPECT_EQ(g.nodes[0].origin.op, "aten::convolution");
  EXPECT_EQ(g.nodes[0].origin.module, "stem.conv");
  EXPECT_EQ(g.nodes[1].origin.op, "aten::other");
  EXPECT_EQ(g.nodes[1].origin.node, "scope");
  EXPECT_FALSE(g.values[g.nodes[1].outputs[1]].has_type);
  EXPECT_TRUE(g.nodes[2].mutates && g.nodes[2].side_effect && g.nodes[2].draws);
  EXPECT_EQ(g.outputs[1], kNone);
  EXPECT_EQ(std::get<double>(g.nodes[1].args[8].second.v), 1e-05);
  EXPECT_EQ(std::get<Dim>(g.nodes[1].args[4].second.v), Dim::parse("2*n+1"));
}

TEST(SourceText, ErrorsNameTheLine) {
  for (const char* text :
       {"graph \"a\"\n%x: f32[2] = aten::relu(self=%y)", "graph \"a\"\n%x: q32[2] = input", "graph \"a\"\n%x: f32[2 = input", "graph \"a\"\nreturn x"}) {
    try {
      parse_source_graph(text);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("line 2"), std::string::npos) << e.what();
    }
  }
}

}  // namespace
}  // namespace tuyere
