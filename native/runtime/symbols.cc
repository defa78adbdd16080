#include "runtime/symbols.h"

#include <bcc/bcc_proc.h>
#include <cxxabi.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "common/args.h"
#include "common/unique_fd.h"

namespace tsbcc {

namespace {

constexpr uint32_t kFunctions = (1u << STT_FUNC) | (1u << STT_GNU_IFUNC);
constexpr uint32_t kAllTypes = ~0u;
/// What a hostile file may make this process allocate: for one part of it, and for all names together.
constexpr uint64_t kMostBytes = 1u << 30;
constexpr uint64_t kMostText = 1u << 28;

struct Symbol {
  uint64_t address;
  uint64_t size;
  std::string name;
};

/// Bytes of a file, as many of those asked for as there are.
std::vector<char> ReadPart(int fd, uint64_t file_size, uint64_t offset, uint64_t size) {
  std::vector<char> bytes(offset < file_size ? std::min({size, file_size - offset, kMostBytes}) : 0);
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t got = pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

/// Calls `visit(symbol type, address, size, name)` for every symbol that has an address and a name, until it is false.
template <typename Sym, typename Visit>
bool EachSymbol(const std::vector<char>& table, const std::vector<char>& names, Visit visit) {
  for (size_t at = 0; at + sizeof(Sym) <= table.size(); at += sizeof(Sym)) {
    Sym symbol;
    std::memcpy(&symbol, table.data() + at, sizeof(symbol));
    if (symbol.st_value == 0 || symbol.st_name >= names.size()) continue;
    const char* name = names.data() + symbol.st_name;
    std::string_view text(name, strnlen(name, names.size() - symbol.st_name));
    if (!visit(symbol.st_info & 0xf, symbol.st_value, symbol.st_size, text)) return false;
  }
  return true;
}

uint64_t Size(const Napi::Object& section, const char* key) {
  bool lossless = false;
  return section.Get(key).As<Napi::BigInt>().Uint64Value(&lossless);
}

/// The symbols of all sections, in their order: see NativeSymbolSection.
template <typename Visit>
void EachSymbolOf(const Napi::Value& sections, Visit visit) {
  auto given = sections.As<Napi::Array>();
  for (uint32_t i = 0; i < given.Length(); ++i) {
    auto section = given.Get(i).As<Napi::Object>();
    UniqueFd fd(open(String(section.Get("path")).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat status;
    if (!fd || fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    auto file_size = static_cast<uint64_t>(status.st_size);
    auto table = ReadPart(fd.get(), file_size, Size(section, "offset"), Size(section, "size"));
    auto names = ReadPart(fd.get(), file_size, Size(section, "stringsOffset"), Size(section, "stringsSize"));
    bool wide = section.Get("wide").ToBoolean();
    if (!(wide ? EachSymbol<Elf64_Sym>(table, names, visit) : EachSymbol<Elf32_Sym>(table, names, visit))) return;
  }
}

}  // namespace

/// elfSymbols(sections)
static Napi::Value ElfSymbols(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::vector<Symbol> symbols;
  uint64_t collected = 0;
  EachSymbolOf(info[0], [&](unsigned type, uint64_t address, uint64_t size, std::string_view name) {
    if ((kFunctions >> type & 1) == 0) return true;
    symbols.push_back({address, size, std::string(name)});
    collected += name.size();
    return collected < kMostText;
  });

  // The dynamic symbols of a file that also has the full table come twice.
  std::stable_sort(symbols.begin(), symbols.end(), [](const Symbol& a, const Symbol& b) {
    return std::tie(a.address, a.name) < std::tie(b.address, b.name);
  });
  symbols.erase(
      std::unique(symbols.begin(), symbols.end(),
                  [](const Symbol& a, const Symbol& b) { return a.address == b.address && a.name == b.name; }),
      symbols.end());

  size_t text_size = 0;
  for (const Symbol& symbol : symbols) text_size += symbol.name.size();
  auto text = Napi::Uint8Array::New(env, text_size);
  auto starts = Napi::Uint32Array::New(env, symbols.size() + 1);
  auto addresses = Napi::BigUint64Array::New(env, symbols.size());
  auto sizes = Napi::BigUint64Array::New(env, symbols.size());
  auto reach = Napi::BigUint64Array::New(env, symbols.size());
  uint32_t at = 0;
  uint64_t furthest = 0;
  for (size_t i = 0; i < symbols.size(); i++) {
    const Symbol& symbol = symbols[i];
    std::copy(symbol.name.begin(), symbol.name.end(), text.Data() + at);
    starts[i] = at;
    at += static_cast<uint32_t>(symbol.name.size());
    addresses[i] = symbol.address;
    sizes[i] = symbol.size;
    furthest = std::max(furthest, symbol.address + symbol.size);
    reach[i] = furthest;
  }
  starts[symbols.size()] = at;

  auto result = Napi::Object::New(env);
  result.Set("text", text);
  result.Set("starts", starts);
  result.Set("addresses", addresses);
  result.Set("sizes", sizes);
  result.Set("reach", reach);
  return result;
}

/// elfSymbolAddress(sections, name)
static Napi::Value ElfSymbolAddress(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::string wanted = String(info[1]);
  uint64_t found = 0;
  // A function is preferred to a variable of the same name, which may come first in the file.
  for (uint32_t types : {kFunctions, kAllTypes}) {
    EachSymbolOf(info[0], [&](unsigned type, uint64_t address, uint64_t, std::string_view name) {
      if ((types >> type & 1) != 0 && name == wanted) found = address;
      return found == 0;
    });
    if (found != 0) return Napi::BigInt::New(env, found);
  }
  return env.Undefined();
}

static Napi::Value Demangle(const Napi::CallbackInfo& info) {
  std::string name = String(info[0]);
  int status = 0;
  std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status),
                                                   &std::free);
  return Napi::String::New(info.Env(), text ? text.get() : name.c_str());
}

static Napi::Value FindLibrary(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::string name = String(info[0]);
  int pid = Int(info[1]);
  // libbcc fills its copy of the loader's cache at the first call, without a lock of its own.
  static std::mutex cache_mutex;
  std::lock_guard lock(cache_mutex);
  std::unique_ptr<char, decltype(&std::free)> path(bcc_procutils_which_so(name.c_str(), pid > 0 ? pid : 0), &std::free);
  return path ? Napi::String::New(env, path.get()) : env.Undefined();
}

void InitSymbols(Napi::Env env, Napi::Object exports) {
  exports.Set("elfSymbols", Napi::Function::New(env, ElfSymbols, "elfSymbols"));
  exports.Set("elfSymbolAddress", Napi::Function::New(env, ElfSymbolAddress, "elfSymbolAddress"));
  exports.Set("demangle", Napi::Function::New(env, Demangle, "demangle"));
  exports.Set("findLibrary", Napi::Function::New(env, FindLibrary, "findLibrary"));
}

}  // namespace tsbcc
