/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  // Here, and not in /tmp, VMs find what has been transformed. One for each user: root's files are nobody else's to change.
  cacheDirectory: `<rootDir>/build/jest-${process.getuid()}`,
  roots: ['<rootDir>/test'],
  globalSetup: '<rootDir>/test/helpers/global-setup.ts',
  moduleNameMapper: { '^tsbcc$': '<rootDir>/src/index.ts' },
  testMatch: ['**/*.test.ts'],
  transform: { '^.+\\.m?[tj]s$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' } }] },
  testTimeout: 60_000,
};
