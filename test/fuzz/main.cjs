/*
 * npm run fuzz -- [target …] [--seconds N] [--seed S] [--runs N] [--input FILE] [--list]
 *
 * Fuzzes the parsers and decoders of text and bytes from outside, guided by the coverage of src/. Two targets at a time;
 * --seconds is the whole run's, --runs bounds the inputs of each target instead and makes a run repeatable.
 */
require('./register.cjs');
const { main } = require('./main.ts');

main(process.argv.slice(2)).then(
  (status) => {
    process.exitCode = status;
  },
  (error) => {
    console.error(error.code?.startsWith('ERR_PARSE_ARGS') ? error.message : error);
    process.exitCode = 2;
  },
);
