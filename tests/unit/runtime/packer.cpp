// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <random>

#include "runtime/plan/plan.h"

namespace tuyere {
namespace {

void check(const std::vector<PackItem>& items, double limit, int64_t alignment = 256) {
  const Packing packing = pack_memory(items, alignment);
  ASSERT_EQ(packing.offsets.size(), items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(packing.offsets[i] % alignment, 0);
    EXPECT_LE(packing.offsets[i] + items[i].bytes, packing.total);
    for (size_t j = 0; j < i; ++j) {
      const bool together = items[i].first <= items[j].last && items[j].first <= items[i].last;
      const bool apart = packing.offsets[i] + items[i].bytes <= packing.offsets[j] || packing.offsets[j] + items[j].bytes <= packing.offsets[i];
      EXPECT_TRUE(!together || apart || !items[i].bytes || !items[j].bytes) << i << " and " << j;
    }
  }
  EXPECT_GE(packing.total, packing.lower_bound);
  EXPECT_LE(static_cast<double>(packing.total), limit * static_cast<double>(packing.lower_bound));
  EXPECT_EQ(pack_memory(items, alignment).offsets, packing.offsets);
}

TEST(Packer, Empty) {
  EXPECT_EQ(pack_memory({}).total, 0);
  EXPECT_EQ(pack_memory({{0, 0, 3}}).total, 0);
}

TEST(Packer, OddSizesAreAligned) {
  const Packing packing = pack_memory({{1, 0, 1}, {300, 0, 1}});
  EXPECT_EQ(packing.total, 768);
  EXPECT_EQ(packing.lower_bound, 768);
}

TEST(Packer, ChainUsesTwoBuffers) {
  std::vector<PackItem> items;
  for (int i = 0; i < 50; ++i) items.push_back({4096, i, i + 1});
  check(items, 1.0);
  EXPECT_EQ(pack_memory(items).total, 8192);
}

TEST(Packer, ChainOfMixedSizes) {
  std::mt19937 random(1);
  std::vector<PackItem> items;
  for (int i = 0; i < 120; ++i) items.push_back({1 + static_cast<int64_t>(random() % 1000000), i, i + 1});
  check(items, 1.1);
}

TEST(Packer, Residual) {
  std::vector<PackItem> items;
  int step = 0;
  int64_t bytes = 3 << 20;
  for (int block = 0; block < 16; ++block, step += 4) {
    if (block % 4 == 3) bytes /= 2;
    items.push_back({bytes, step, step + 4});          // the skip
    items.push_back({bytes / 4, step + 1, step + 2});  // bottleneck
    items.push_back({bytes / 4, step + 2, step + 3});
    items.push_back({bytes / 8 + 777, step + 2, step + 2});  // workspace
    items.push_back({bytes, step + 3, step + 4});
  }
  check(items, 1.1);
}

TEST(Packer, Dense) {
  std::vector<PackItem> items;
  for (int i = 0; i < 48; ++i) {
    items.push_back({32 * 56 * 56 * 4, 2 * i, 97});
    items.push_back({(64 + 32LL * i) * 56 * 56, 2 * i, 2 * i + 1});
    items.push_back({128 * 56 * 56 * 4, 2 * i + 1, 2 * i + 2});
  }
  check(items, 1.1);
}

TEST(Packer, Inception) {
  std::mt19937 random(5);
  std::vector<PackItem> items;
  int step = 0;
  for (int block = 0; block < 11; ++block) {
    const int end = step + 9;
    items.push_back({(200 + 30LL * block) * 35 * 35 * 4, step, end});
    for (int branch = 0; branch < 4; ++branch) {
      items.push_back({static_cast<int64_t>(32 + random() % 96) * 35 * 35 * 4, step + 2 * branch, step + 2 * branch + 1});
      items.push_back({static_cast<int64_t>(32 + random() % 96) * 35 * 35 * 4, step + 2 * branch + 1, end});
    }
    step = end;
  }
  check(items, 1.1);
}

TEST(Packer, RandomGraphs) {
  for (int seed = 0; seed < 12; ++seed) {
    std::mt19937 random(seed);
    std::vector<PackItem> items;
    const int count = 30 + static_cast<int>(random() % 150);
    for (int i = 0; i < count; ++i) {
      const int reach = random() % 5 == 0 ? 20 : 3;
      items.push_back({static_cast<int64_t>(random() % (1 << 20)), i, i + static_cast<int>(random() % reach)});
    }
    check(items, 1.1);
  }
}

}  // namespace
}  // namespace tuyere
