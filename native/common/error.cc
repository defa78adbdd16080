#include "common/error.h"

#include <cstdlib>
#include <cstring>

namespace tsbcc {

Napi::Error ErrnoError(Napi::Env env, int err, const std::string& syscall) {
  err = std::abs(err);
  Napi::Error error = Napi::Error::New(env, syscall + ": " + std::strerror(err));
  error.Set("errno", Napi::Number::New(env, err));
  error.Set("syscall", Napi::String::New(env, syscall));
  return error;
}

void ThrowErrno(Napi::Env env, int err, const std::string& syscall) {
  throw ErrnoError(env, err, syscall);
}

}  // namespace tsbcc
