#pragma once

#include <napi.h>

namespace tsbcc {

void InitBtf(Napi::Env env, Napi::Object exports);

}  // namespace tsbcc
