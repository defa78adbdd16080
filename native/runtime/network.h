#pragma once

#include <napi.h>

namespace tsbcc {

void InitNetwork(Napi::Env env, Napi::Object exports);

}  // namespace tsbcc
