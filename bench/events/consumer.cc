// The C++ side, over the same libbcc calls: see consumer.mjs for what it takes (as words, not JSON) and prints.
//   consumer drain|live|latency ring|perf PAGES PER_CALL EVENTS PER_SECOND SECONDS ROUNDS PRODUCER CPU PROGRAM
#include <bcc/bcc_common.h>
#include <bcc/bpf_module.h>
#include <bcc/libbpf.h>
#include <bcc/perf_reader.h>
#include <bpf/bpf.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

struct Event {
  uint32_t pid;
  uint32_t cpu;
  uint64_t seq;
  uint64_t ts;
  uint64_t address;
  char comm[16];
};

static int64_t Now(clockid_t clock = CLOCK_MONOTONIC) {
  timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * int64_t{1000000000} + now.tv_nsec;
}

static void Check(bool good, const char* what) {
  if (good) return;
  perror(what);
  exit(1);
}

/// What arrives: the struct is filled, as the other sides make an object.
struct Sink {
  uint64_t seen = 0;
  Event last = {};
  uint64_t lost = 0;
  std::vector<double>* times = nullptr;

  void Take(const void* data) {
    std::memcpy(&last, data, sizeof last);
    // Tells the compiler that the struct is read, each time.
    asm volatile("" : : "r"(&last) : "memory");
    if (times != nullptr) times->push_back((Now() - static_cast<int64_t>(last.ts)) / 1000.0);
    seen++;
  }
};

class Producer {
 public:
  Producer(const char* path, const char* cpu) {
    int in[2], out[2];
    Check(pipe(in) == 0 && pipe(out) == 0, "pipe");
    pid = fork();
    if (pid == 0) {
      dup2(in[0], 0);
      dup2(out[1], 1);
      close(in[1]);
      close(out[0]);
      execl(path, path, cpu, nullptr);
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    commands_ = fdopen(in[1], "w");
    answers_ = fdopen(out[0], "r");
    Answer();
  }
  void Start(long long calls, long long perSecond) {
    fprintf(commands_, "%lld %lld\n", calls, perSecond);
    fflush(commands_);
  }
  /// Seconds that the producer took.
  double Answer() {
    char line[64];
    Check(fgets(line, sizeof line, answers_) != nullptr, "producer");
    long long ns = 0;
    sscanf(line, "done %lld", &ns);
    return ns / 1e9;
  }
  void End() {
    fclose(commands_);
    waitpid(pid, nullptr, 0);
  }

  pid_t pid;

 private:
  FILE* commands_;
  FILE* answers_;
};

int main(int, char** argv) {
  const std::string mode = argv[1];
  const bool ring = std::string(argv[2]) == "ring";
  const int pages = atoi(argv[3]);
  const long long perCall = atoll(argv[4]), events = atoll(argv[5]), perSecond = atoll(argv[6]),
                  seconds = atoll(argv[7]);
  const int rounds = atoi(argv[8]);
  Producer producer(argv[9], argv[10]);

  std::vector<std::string> flags = {"-DPRODUCER=" + std::to_string(producer.pid),
                                    "-DPER_CALL=" + std::to_string(perCall)};
  if (ring) flags.push_back("-DRING_PAGES=" + std::to_string(pages));
  std::vector<const char*> cflags;
  for (const std::string& flag : flags) cflags.push_back(flag.c_str());
  void* module = bpf_module_create_c(argv[11], 0, cflags.data(), cflags.size(), true, nullptr);
  Check(module != nullptr, "bpf_module_create_c");
  const char* name = bpf_function_name(module, 0);
  int program = bcc_func_load(module, BPF_PROG_TYPE_TRACEPOINT, name,
                              static_cast<bpf_insn*>(bpf_function_start(module, name)), bpf_function_size(module, name),
                              bpf_module_license(module), bpf_module_kern_version(module), 0, nullptr, 0, nullptr, -1);
  Check(program >= 0, "bcc_func_load");
  Check(bpf_attach_tracepoint(program, "syscalls", "sys_enter_getppid") >= 0, "bpf_attach_tracepoint");
  int map = bpf_table_fd(module, "events");

  Sink sink;
  void* rings = nullptr;
  std::vector<perf_reader*> readers;
  if (ring) {
    rings = bpf_new_ringbuf(
        map,
        [](void* context, void* data, size_t) {
          static_cast<Sink*>(context)->Take(data);
          return 0;
        },
        &sink);
    Check(rings != nullptr, "bpf_new_ringbuf");
  } else {
    for (int cpu = 0; cpu < sysconf(_SC_NPROCESSORS_ONLN); cpu++) {
      bcc_perf_buffer_opts options = {.pid = -1, .cpu = cpu, .wakeup_events = mode == "drain" ? 1000 : 1};
      auto* reader = static_cast<perf_reader*>(bpf_open_perf_buffer_opts(
          [](void* context, void* data, int) { static_cast<Sink*>(context)->Take(data); },
          [](void* context, uint64_t lost) { static_cast<Sink*>(context)->lost += lost; }, &sink, pages, &options));
      Check(reader != nullptr, "bpf_open_perf_buffer_opts");
      int fd = perf_reader_fd(reader);
      Check(bpf_update_elem(map, &cpu, &fd, BPF_ANY) == 0, "bpf_update_elem");
      readers.push_back(reader);
    }
  }
  auto consume = [&] {
    ring ? bpf_consume_ringbuf(static_cast<ring_buffer*>(rings)) : perf_reader_consume(readers.size(), readers.data());
  };
  auto poll = [&](int timeout) {
    ring ? bpf_poll_ringbuf(static_cast<ring_buffer*>(rings), timeout)
         : perf_reader_poll(readers.size(), readers.data(), timeout);
  };
  auto counter = [&](const char* table) {
    int zero = 0;
    uint64_t value = 0;
    bpf_lookup_elem(bpf_table_fd(module, table), &zero, &value);
    return static_cast<unsigned long long>(value);
  };

  if (mode == "drain") {
    int64_t best = INT64_MAX, bestCpu = INT64_MAX;
    for (int round = 0; round < rounds; round++) {
      sink.seen = 0;
      producer.Start(events / perCall, 0);
      producer.Answer();
      int64_t start = Now(), cpu = Now(CLOCK_PROCESS_CPUTIME_ID);
      while (sink.seen < static_cast<uint64_t>(events)) consume();
      best = std::min(best, Now() - start);
      bestCpu = std::min(bestCpu, Now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    }
    printf("{\"events\":%lld,\"perSecond\":%f,\"perCpuSecond\":%f,", events, events / (best / 1e9),
           events / (bestCpu / 1e9));
  } else if (mode == "live") {
    std::atomic<bool> finished = false;
    double took = 0;
    int64_t start = Now(CLOCK_PROCESS_CPUTIME_ID);
    std::thread waiting([&] {
      producer.Start(perSecond * seconds / perCall, perSecond / perCall);
      took = producer.Answer();
      finished = true;
    });
    while (!finished) poll(100);
    for (int i = 0; i < 10; i++) poll(100);
    waiting.join();
    printf("{\"received\":%llu,\"sent\":%llu,\"lost\":%llu,\"producerSeconds\":%f,\"cpuSeconds\":%f,",
           static_cast<unsigned long long>(sink.seen), counter("sent"),
           ring ? counter("refused") : static_cast<unsigned long long>(sink.lost), took,
           (Now(CLOCK_PROCESS_CPUTIME_ID) - start) / 1e9);
  } else {
    std::vector<double> times;
    sink.times = &times;
    const size_t count = perSecond * seconds;
    producer.Start(count, perSecond);
    while (times.size() < count) poll(-1);
    std::sort(times.begin(), times.end());
    printf("{\"medianUs\":%f,\"p99Us\":%f,\"events\":%zu,", times[count / 2], times[count * 99 / 100], count);
  }
  printf("\"last\":\"%u %u %llu\"}\n", sink.last.pid, sink.last.cpu, static_cast<unsigned long long>(sink.last.seq));
  fflush(stdout);
  producer.End();
  _exit(0);
}
