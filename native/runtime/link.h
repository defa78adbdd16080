#pragma once

#include <napi.h>

namespace tsbcc {

void InitLink(Napi::Env env, Napi::Object exports);

}  // namespace tsbcc
