// SPDX-License-Identifier: Apache-2.0
#include "core/builder/timing_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "common/error.h"
#include "core/builder/files.h"

namespace tuyere {
namespace {

TEST(TimingCache, RoundTrip) {
  TimingCache cache("cpu, 2 threads", "lib 1");
  cache.add("pointwise a", {"own.pointwise.vector", "t=1", 12.34567});
  cache.add("conv b", {"onednn.conv", "", 3.5});
  cache.add("conv b", {"own.conv", "x", 4});
  std::string text = cache.str();
  EXPECT_EQ(text,
            "{\"tuyere\":\"timing cache\",\"version\":2}\n"
            "{\"device\":\"cpu, 2 threads\",\"libraries\":\"lib 1\",\"key\":\"conv "
            "b\",\"timed\":[{\"tactic\":\"onednn.conv\",\"config\":\"\",\"us\":3.5},{\"tactic\":\"own.conv\",\"config\":\"x\",\"us\":4.0}]}\n"
            "{\"device\":\"cpu, 2 threads\",\"libraries\":\"lib 1\",\"key\":\"pointwise "
            "a\",\"timed\":[{\"tactic\":\"own.pointwise.vector\",\"config\":\"t=1\",\"us\":12.346}]}\n");
  TimingCache again("cpu, 2 threads", "lib 1");
  again.merge(text);
  EXPECT_EQ(again.str(), text);
  EXPECT_EQ(again.find("conv b").size(), 2u);
  EXPECT_EQ(again.find("conv b", "own.conv", "x"), 4.0);
  EXPECT_EQ(again.find("conv b", "own.conv", "y"), std::nullopt);
}

TEST(TimingCache, OtherDevicesAreKeptAndNotUsed) {
  TimingCache h100("H100");
  h100.add("k", {"a", "", 1});
  TimingCache a100("A100");
  a100.merge(h100.str());
  EXPECT_TRUE(a100.find("k").empty());
  a100.add("k", {"a", "", 2});
  h100.merge(a100.str());
  EXPECT_EQ(h100.find("k", "a", ""), 1.0);
  EXPECT_EQ(h100.size(), 2);
}

TEST(TimingCache, OtherLibrariesAreKeptAndNotUsed) {
  TimingCache old("H100", "cuDNN 1");
  old.add("k", {"a", "", 1});
  TimingCache next("H100", "cuDNN 2");
  next.merge(old.str());
  EXPECT_TRUE(next.find("k").empty());
  next.add("k", {"a", "", 2});
  EXPECT_EQ(next.find("k", "a", ""), 2.0);
  EXPECT_EQ(next.size(), 2);
  TimingCache absent("H100");  // whatever was measured last
  absent.merge(next.str());
  EXPECT_EQ(absent.find("k", "a", ""), 2.0);
  TimingCache first("H100", "cuDNN 2");
  first.merge("{\"tuyere\":\"timing cache\",\"version\":1}\n{\"device\":\"H100\",\"key\":\"k\",\"timed\":[{\"tactic\":\"a\",\"config\":\"\",\"us\":3}]}\n");
  EXPECT_EQ(first.size(), 0);
}

TEST(TimingCache, FilesMerge) {
  std::string path = std::filesystem::temp_directory_path() / ("tuyere_cache_" + std::to_string(getpid())) / "t.jsonl";
  TimingCache one("d"), two("d");
  one.add("k1", {"a", "", 1});
  two.add("k2", {"b", "", 2});
  one.save(path);
  two.save(path);
  TimingCache both("d");
  both.load(path);
  EXPECT_EQ(both.size(), 2);
  std::filesystem::remove_all(std::filesystem::path(path).parent_path());
}

TEST(TimingCache, RefusesWhatItCannotRead) {
  TimingCache cache("d");
  EXPECT_THROW(cache.merge("{\"tuyere\":\"timing cache\",\"version\":99}\n"), Error);
  EXPECT_THROW(cache.merge("nonsense\n"), Error);
  EXPECT_THROW(cache.merge("{\"key\":\"k\"}\n"), Error);
}

TEST(Files, ReadWhatWasWritten) {
  std::string path = std::filesystem::temp_directory_path() / ("tuyere_file_" + std::to_string(getpid()));
  write_file(path, "one");
  write_file(path, "two");
  EXPECT_EQ(read_file(path), "two");
  std::filesystem::remove(path);
  EXPECT_EQ(read_file(path), std::nullopt);
  EXPECT_THROW(write_file("/proc/nothing/here", "x"), Error);
}

}  // namespace
}  // namespace tuyere
