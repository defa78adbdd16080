// Lets a worker thread require the sources: jest's own transform does not reach into workers.
const { transformFileSync } = require('@swc/core');

require.extensions['.ts'] = (module, file) => {
  const options = {
    swcrc: false,
    module: { type: 'commonjs' },
    jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
  };
  module._compile(transformFileSync(file, options).code, file);
};
