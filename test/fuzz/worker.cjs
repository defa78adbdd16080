// A worker starts without its parent's require hook.
require('./register.cjs');
require('./fuzzer.ts');
