#include "compiler/stderr_capture.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cstdio>

namespace tsbcc {

StderrCapture::StderrCapture() : memory_(memfd_create("tsbcc-stderr", MFD_CLOEXEC)) {
  if (!memory_) return;
  std::fflush(stderr);
  saved_.Reset(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
  dup2(memory_.get(), STDERR_FILENO);
}

StderrCapture::~StderrCapture() {
  Restore();
}

void StderrCapture::Restore() {
  if (!memory_) return;
  std::fflush(stderr);
  if (saved_) {
    dup2(saved_.get(), STDERR_FILENO);
    saved_.Reset();
  } else {
    // The process had no stderr: leave it without one.
    close(STDERR_FILENO);
  }
}

std::string StderrCapture::Finish() {
  std::string text;
  if (!memory_) return text;
  Restore();
  off_t size = lseek(memory_.get(), 0, SEEK_END);
  if (size > 0) {
    text.resize(static_cast<size_t>(size));
    ssize_t got = pread(memory_.get(), text.data(), text.size(), 0);
    text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  }
  memory_.Reset();
  return text;
}

}  // namespace tsbcc
