#pragma once

#include <napi.h>

namespace tsbcc {

void InitProgram(Napi::Env env, Napi::Object exports);

}  // namespace tsbcc
