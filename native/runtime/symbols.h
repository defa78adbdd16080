#pragma once

#include <napi.h>

namespace tsbcc {

void InitSymbols(Napi::Env env, Napi::Object exports);

}  // namespace tsbcc
