#include "runtime/fd_watcher.h"

#include <iterator>
#include <memory>

#include "common/args.h"
#include "common/error.h"

namespace tsbcc {

Napi::Function FdWatcher::Define(Napi::Env env) {
  return DefineClass(env, "FdWatcher",
                     {
                         InstanceMethod<&FdWatcher::Start>("start"),
                         InstanceMethod<&FdWatcher::Stop>("stop"),
                         InstanceMethod<&FdWatcher::KeepAlive>("ref"),
                         InstanceMethod<&FdWatcher::LetGo>("unref"),
                         InstanceMethod<&FdWatcher::Close>("close"),
                     });
}

FdWatcher::FdWatcher(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  Napi::Env env = info.Env();
  if (info[1].IsObject()) {
    worker_ = Napi::Persistent(info[1].As<Napi::Object>());
    work_ = info[1].As<Napi::Object>().Get("wakeUpWork").As<Napi::External<WakeUpWork>>().Data();
  }
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) throw Napi::Error::New(env, "this thread has no event loop");
  auto handle = std::make_unique<Handle>();
  int err = uv_poll_init(loop, &handle->poll, Int(info[0]));
  if (err != 0) ThrowErrno(env, err, "uv_poll_init");
  // From here on libuv knows the handle: only CloseHandle may free it.
  handle_ = handle.release();
  handle_->poll.data = handle_;
  handle_->owner = this;
  napi_add_async_cleanup_hook(env, OnTeardown, handle_, &handle_->hook);
}

FdWatcher::~FdWatcher() {
  Release();
}

void FdWatcher::Start(const Napi::CallbackInfo& info) {
  if (handle_ == nullptr) throw Napi::Error::New(info.Env(), "the watcher is closed");
  if (info.Length() > 0 && info[0].IsFunction()) callback_ = Napi::Persistent(info[0].As<Napi::Function>());
  int err = uv_poll_start(&handle_->poll, UV_READABLE, OnReadable);
  if (err != 0) ThrowErrno(info.Env(), err, "uv_poll_start");
  // While libuv may call, the garbage collector must not take this object away.
  if (!started_) Ref();
  started_ = true;
}

void FdWatcher::Stop(const Napi::CallbackInfo&) {
  StopPolling();
}

void FdWatcher::KeepAlive(const Napi::CallbackInfo&) {
  if (handle_ != nullptr) uv_ref(reinterpret_cast<uv_handle_t*>(&handle_->poll));
}

void FdWatcher::LetGo(const Napi::CallbackInfo&) {
  if (handle_ != nullptr) uv_unref(reinterpret_cast<uv_handle_t*>(&handle_->poll));
}

void FdWatcher::Close(const Napi::CallbackInfo&) {
  StopPolling();
  Release();
  callback_.Reset();
  work_ = nullptr;
  worker_.Reset();
}

void FdWatcher::StopPolling() {
  if (!started_) return;
  started_ = false;
  if (handle_ != nullptr) uv_poll_stop(&handle_->poll);
  Unref();
}

void FdWatcher::Release() {
  if (handle_ == nullptr) return;
  handle_->owner = nullptr;
  CloseHandle(std::exchange(handle_, nullptr));
}

void FdWatcher::CloseHandle(Handle* handle) {
  uv_close(reinterpret_cast<uv_handle_t*>(&handle->poll), [](uv_handle_t* closed) {
    auto* handle = static_cast<Handle*>(closed->data);
    napi_remove_async_cleanup_hook(handle->hook);
    delete handle;
  });
}

// Runs when the thread or the process ends; the loop turns until every hook has been removed.
void FdWatcher::OnTeardown(napi_async_cleanup_hook_handle, void* data) {
  auto* handle = static_cast<Handle*>(data);
  // Released earlier, its close is already under way.
  if (handle->owner == nullptr) return;
  handle->owner->handle_ = nullptr;
  handle->owner = nullptr;
  CloseHandle(handle);
}

void FdWatcher::OnReadable(uv_poll_t* poll, int status, int) {
  FdWatcher* self = static_cast<Handle*>(poll->data)->owner;
  if (self == nullptr) return;
  Napi::Env env = self->Env();
  Napi::HandleScope scope(env);
  const uint32_t worked = status == 0 && self->work_ != nullptr ? self->work_->OnWakeUp(env) : 0;
  napi_value arguments[] = {Napi::Number::New(env, status < 0 ? -status : 0), Napi::Number::New(env, worked)};
  // Not through node-addon-api: a callback that ends its thread (process.exit in a worker) leaves a failure without an
  // exception, and no JavaScript can run any more to make one.
  napi_make_callback(env, nullptr, self->Value(), self->callback_.Value(), std::size(arguments), arguments, nullptr);
  if (self->handle_ != nullptr && self->work_ != nullptr) {
    auto* handle = reinterpret_cast<uv_handle_t*>(&self->handle_->poll);
    if (self->work_->AfterWakeUp())
      uv_ref(handle);
    else
      uv_unref(handle);
  }
  bool thrown = false;
  napi_value error;
  if (napi_is_exception_pending(env, &thrown) != napi_ok || !thrown) return;
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
}

void InitFdWatcher(Napi::Env env, Napi::Object exports) {
  exports.Set("FdWatcher", FdWatcher::Define(env));
}

}  // namespace tsbcc
