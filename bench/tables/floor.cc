// The floor under bench/tables.mjs: what the kernel takes for the same work, with nothing around it but a struct to fill.
//   floor ELEMENTS ROUNDS
// prints nanoseconds of processor time per element of every round, and the kernel's part, as JSON.
#include <bpf/bpf.h>
#include <sys/resource.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

struct Key {
  uint32_t pid, op;
  uint64_t address;
};

struct Leaf {
  uint64_t count, total;
  uint32_t largest, errors;
  char comm[16];
};

static void Check(bool good, const char* what) {
  if (good) return;
  perror(what);
  exit(1);
}

static std::pair<double, double> Now() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  auto ns = [](const timeval& time) { return time.tv_sec * 1e9 + time.tv_usec * 1e3; };
  return {ns(usage.ru_utime) + ns(usage.ru_stime), ns(usage.ru_stime)};
}

int main(int, char** argv) {
  const uint32_t elements = atoi(argv[1]), rounds = atoi(argv[2]);
  int map = bpf_map_create(BPF_MAP_TYPE_HASH, "floor", sizeof(Key), sizeof(Leaf), elements, nullptr);
  Check(map >= 0, "bpf_map_create");
  std::vector<Key> keys(elements);
  std::vector<Leaf> leaves(elements);
  uint64_t total = 0;
  auto sum = [&] {
    for (const Leaf& leaf : leaves) total += leaf.count;
  };
  auto key = [](uint32_t i) { return Key{i, i & 3, 0xffff888000000000 + i}; };
  auto leaf = [](uint32_t i) { return Leaf{i, i * uint64_t{2}, i & 0xffff, 0, "node"}; };
  auto batch = [&](auto call) {
    uint64_t position = 0;
    uint32_t count = elements;
    int result = call(map, nullptr, &position, keys.data(), leaves.data(), &count, nullptr);
    Check(count == elements && (result == 0 || errno == ENOENT), "batch");
    sum();
  };

  const std::vector<std::pair<std::string, std::function<void()>>> works = {
      {"update",
       [&] {
         for (uint32_t i = 0; i < elements; i++) {
           Key k = key(i);
           Leaf l = leaf(i);
           Check(bpf_map_update_elem(map, &k, &l, BPF_ANY) == 0, "update");
         }
       }},
      {"lookup",
       [&] {
         for (uint32_t i = 0; i < elements; i++) {
           Key k = key(i);
           Leaf l;
           Check(bpf_map_lookup_elem(map, &k, &l) == 0, "lookup");
           total += l.count;
         }
       }},
      {"scanBatch", [&] { batch(bpf_map_lookup_batch); }},
      {"clear",
       [&] {
         uint32_t count = elements;
         Check(bpf_map_delete_batch(map, keys.data(), &count, nullptr) == 0, "delete");
       }},
      {"updateBatch",
       [&] {
         for (uint32_t i = 0; i < elements; i++) {
           keys[i] = key(i);
           leaves[i] = leaf(i);
         }
         uint32_t count = elements;
         Check(bpf_map_update_batch(map, keys.data(), leaves.data(), &count, nullptr) == 0, "update batch");
       }},
      {"take", [&] { batch(bpf_map_lookup_and_delete_batch); }},
  };
  std::vector<std::string> results(works.size());
  for (uint32_t round = 0; round < rounds; round++) {
    for (size_t i = 0; i < works.size(); i++) {
      const auto before = Now();
      works[i].second();
      const auto after = Now();
      results[i] += (round > 0 ? ",[" : "[") + std::to_string((after.first - before.first) / elements) + "," +
                    std::to_string((after.second - before.second) / elements) + "]";
    }
  }
  // The scan of all elements is one command, however it is asked for.
  std::string json = "{\"sum\":" + std::to_string(total);
  for (size_t i = 0; i < works.size(); i++) {
    json += ",\"" + works[i].first + "\":[" + results[i] + "]";
    if (works[i].first == "scanBatch") json += ",\"scan\":[" + results[i] + "]";
  }
  printf("%s}\n", json.c_str());
}
