#pragma once

#include <napi.h>

#include <string>

namespace tsbcc {

/// A JavaScript Error with the properties `errno` (positive) and `syscall`.
Napi::Error ErrnoError(Napi::Env env, int err, const std::string& syscall);

/// Throws ErrnoError; `err` may be negative, as libbpf returns it.
[[noreturn]] void ThrowErrno(Napi::Env env, int err, const std::string& syscall);

}  // namespace tsbcc
