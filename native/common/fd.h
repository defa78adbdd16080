#pragma once

#include <napi.h>

#include "common/unique_fd.h"

namespace tsbcc {

/// A file descriptor owned by JavaScript: closed by close() or by the garbage collector.
class Fd : public Napi::ObjectWrap<Fd> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit Fd(const Napi::CallbackInfo& info);

 private:
  Napi::Value Number(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  UniqueFd fd_;
};

/// What one instance of the addon (one per thread) keeps.
struct AddonData {
  Napi::FunctionReference fd;
};

void InitFd(Napi::Env env, Napi::Object exports);

/// Hands `fd` over to a new JavaScript Fd.
Napi::Value WrapFd(Napi::Env env, UniqueFd fd);

}  // namespace tsbcc
