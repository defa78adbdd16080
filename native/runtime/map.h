#pragma once

#include <napi.h>

namespace tsbcc {

void InitMap(Napi::Env env, Napi::Object exports);

}  // namespace tsbcc
