struct key_t {
  u32 pid;
  u32 op;
  u64 address;
};

struct leaf_t {
  u64 count;
  u64 total;
  u32 largest;
  u32 errors;
  char comm[16];
};

BPF_HASH(stats, struct key_t, struct leaf_t, ELEMENTS);
