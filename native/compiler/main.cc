/*
 * The program that compiles, and does nothing else: LLVM's memory ends with it, and so does whatever LLVM does to a
 * process (it aborts on some programs and exits on others). It reads a request from its standard input, tells the
 * compiler's messages on stderr, and writes what came out to descriptor 3. src/program/compiler.ts starts it.
 */
#include <bcc/bcc_version.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "compiler/kernel_symbols.h"
#include "compiler/module.h"
#include "compiler/shared_tables.h"
#include "compiler/wire.h"

namespace tsbcc {

/// Statuses to end with: 0 with a result written, or why there is none.
constexpr int kBadRequest = 64;
constexpr int kRefused = 65;
constexpr int kResultFd = 3;

/// Stands on stderr between the messages of one text and the next.
constexpr const char* kNextText = "\x1etsbcc: next text\n";

struct Request {
  unsigned debug;
  bool allow_rlimit;
  ProbeReadHelpers helpers;
  std::string device;
  std::vector<std::string> cflags;
  std::vector<ExportedTable> exported;
  /// Compiled in turn until one succeeds: the annotated text first, then the user's own, for true messages.
  std::vector<std::string> texts;
};

static std::vector<uint8_t> ReadAll(int fd) {
  std::vector<uint8_t> bytes;
  std::array<uint8_t, 65536> part;
  for (;;) {
    ssize_t size = read(fd, part.data(), part.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) throw std::system_error(errno, std::generic_category(), "reading the request");
    if (size == 0) return bytes;
    bytes.insert(bytes.end(), part.begin(), part.begin() + size);
  }
}

static void WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t size = write(fd, bytes.data(), bytes.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) throw std::system_error(errno, std::generic_category(), "writing the result");
    bytes.remove_prefix(static_cast<size_t>(size));
  }
}

static std::vector<ExportedTable> ReadExportedTables(WireInput& in) {
  std::vector<ExportedTable> tables;
  for (uint32_t left = in.Number(); left > 0; --left) {
    // The fields in their order: a braced list is evaluated from left to right.
    tables.push_back(
        {in.Text(), in.Number(), in.Number(), in.Number(), in.Number(), in.Number(), in.Text(), in.Text()});
  }
  return tables;
}

static Request ReadRequest() {
  std::vector<uint8_t> bytes = ReadAll(STDIN_FILENO);
  WireInput in(bytes);
  Request request;
  request.debug = in.Number();
  request.allow_rlimit = in.Number() != 0;
  request.helpers = static_cast<ProbeReadHelpers>(in.Number());
  request.device = in.Text();
  request.cflags = in.Texts();
  request.exported = ReadExportedTables(in);
  request.texts = in.Texts();
  return request;
}

static ModulePtr CompileText(const Request& request, const std::string& text, SharedTables& shared) {
  std::vector<const char*> cflags;
  for (const std::string& flag : request.cflags) cflags.push_back(flag.c_str());
  const char* device = request.device.empty() ? nullptr : request.device.c_str();
  for (;;) {
    ModulePtr compiled(bpf_module_create_c_from_string(text.c_str(), request.debug, cflags.data(),
                                                       static_cast<int>(cflags.size()), request.allow_rlimit, device));
    if (!compiled || !ForgetOwnTables(compiled.get(), shared)) return compiled;
    std::fputs(kNextText, stderr);
  }
}

static int Compile(const Request& request) {
  TellProbeReadHelpers(request.helpers);
  SharedTables shared(request.exported);
  for (size_t index = 0; index < request.texts.size(); ++index) {
    if (index > 0) std::fputs(kNextText, stderr);
    ModulePtr compiled = CompileText(request, request.texts[index], shared);
    if (!compiled) continue;
    // Not destroyed: the kernel takes back all of a process at once, and in less time. Static, so that it is reachable
    // to the end and no leak to those who look for any.
    static Module* module = new Module(std::move(compiled), shared);
    WireOutput out;
    out.Number(static_cast<uint32_t>(index));
    module->Write(out);
    WriteAll(kResultFd, out.bytes());
    return 0;
  }
  return kRefused;
}

static int Main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    std::puts("libbcc " LIBBCC_VERSION);
    return 0;
  }
  try {
    return Compile(ReadRequest());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "the compiler's request: %s\n", error.what());
    return kBadRequest;
  }
}

}  // namespace tsbcc

int main(int argc, char** argv) {
  int status = tsbcc::Main(argc, argv);
  std::fflush(nullptr);
  _exit(status);
}
