#include "runtime/symbols.h"

#include <bcc/bcc_elf.h>
#include <bcc/bcc_proc.h>
#include <bcc/bcc_syms.h>
#include <cxxabi.h>
#include <elf.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <tuple>
#include <vector>

#include "common/args.h"

namespace tsbcc {

namespace {

constexpr uint32_t kFunctions = (1u << STT_FUNC) | (1u << STT_GNU_IFUNC);

/// Takes separate debug files (by build id or debug link, checksum verified) and compressed ones into account.
bcc_symbol_option SymbolOptions(uint32_t types) {
  bcc_symbol_option options = {};
  options.use_debug_file = 1;
  options.check_debug_file_crc = 1;
  options.use_symbol_type = types;
  return options;
}

struct Symbol {
  uint64_t address;
  uint64_t size;
  std::string name;
};

struct SymbolList {
  std::vector<Symbol> symbols;
  bool failed = false;
};

struct NameSearch {
  const std::string& name;
  uint64_t address = 0;
};

}  // namespace

static int CollectSymbol(const char* name, uint64_t address, uint64_t size, void* payload) {
  auto* list = static_cast<SymbolList*>(payload);
  // An exception must not travel through libbcc's C frames, which would leave its files open.
  try {
    list->symbols.push_back({address, size, name});
    return 0;
  } catch (const std::bad_alloc&) {
    list->failed = true;
    return -1;
  }
}

static int MatchSymbol(const char* name, uint64_t address, uint64_t, void* payload) {
  auto* search = static_cast<NameSearch*>(payload);
  if (search->name != name) return 0;
  search->address = address;
  return -1;
}

static Napi::Value ElfSymbols(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::string path = String(info[0]);
  SymbolList list;
  bcc_symbol_option options = SymbolOptions(kFunctions);
  if (bcc_elf_foreach_sym(path.c_str(), CollectSymbol, &options, &list) < 0) return env.Undefined();
  if (list.failed) throw Napi::Error::New(env, "out of memory while reading the symbols of " + path);

  // The dynamic symbols of a file that also has the full table come twice.
  auto& symbols = list.symbols;
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

static Napi::Value ElfSymbolAddress(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::string path = String(info[0]);
  std::string name = String(info[1]);
  // A function is preferred to a variable of the same name, which may come first in the file.
  for (uint32_t types : {kFunctions, BCC_SYM_ALL_TYPES}) {
    NameSearch search{name};
    bcc_symbol_option options = SymbolOptions(types);
    bcc_elf_foreach_sym(path.c_str(), MatchSymbol, &options, &search);
    if (search.address != 0) return Napi::BigInt::New(env, search.address);
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
