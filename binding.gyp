{
  "target_defaults": {
    "cflags_cc": ["-std=c++20", "-Wall", "-Wextra", "-fvisibility=hidden"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
    "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED"],
    "include_dirs": ["<!@(node -p \"require('node-addon-api').include\")", "native"]
  },
  "targets": [
    {
      "target_name": "runtime",
      "sources": [
        "native/common/error.cc",
        "native/common/fd.cc",
        "native/runtime/addon.cc",
        "native/runtime/btf.cc",
        "native/runtime/fd_watcher.cc",
        "native/runtime/link.cc",
        "native/runtime/map.cc",
        "native/runtime/network.cc",
        "native/runtime/perf_reader.cc",
        "native/runtime/program.cc",
        "native/runtime/ring_reader.cc",
        "native/runtime/symbols.cc"
      ],
      "cflags_cc": ["<!@(node scripts/pkg-config.mjs --cflags libbcc libbpf)"],
      "libraries": ["<!@(node scripts/pkg-config.mjs --libs-bpf)"]
    },
    {
      "target_name": "compiler",
      "type": "executable",
      "sources": [
        "native/compiler/kernel_symbols.cc",
        "native/compiler/main.cc",
        "native/compiler/map_record.cc",
        "native/compiler/module.cc",
        "native/compiler/shared_tables.cc"
      ],
      "cflags_cc": ["<!@(node scripts/pkg-config.mjs --cflags libbcc libbpf)"],
      "libraries": ["<!@(node scripts/pkg-config.mjs --libs libbcc libbpf)"]
    }
  ]
}
