const { parseArguments, usage } = require('../../scripts/vm/args.mjs');

const parse = (...argv: string[]) => parseArguments(argv, '/home/somebody');

test('takes what follows the first -- as the command, word for word', () => {
  const { options } = parse('--kernel', '6.1', '--', 'node', '-e', '', '--', "it's $HOME", '--kernel', '6.12');
  expect(options.kernel).toBe('6.1');
  expect(options.command).toEqual(['node', '-e', '', '--', "it's $HOME", '--kernel', '6.12']);
});

test('reads every option', () => {
  const { options, verbose, quiet } = parse(
    ...['--kernel=6.12', '--headers', '--compile-on-host', '--memory', '4096', '--cpus', '4', '--timeout', '60', '-v'],
    ...['--env', 'A=1=2', '--env', 'B=', '--share', 'results', '--share', '/var/cache', '--', 'true'],
  );
  expect({ verbose, quiet }).toEqual({ verbose: true, quiet: false });
  expect(options).toEqual({
    kernel: '6.12',
    command: ['true'],
    headers: true,
    compile: true,
    memory: 4096,
    cpus: 4,
    timeout: 60,
    env: { A: '1=2', B: '' },
    shares: ['/home/somebody/results', '/var/cache'],
  });
});

test('leaves the defaults to the machine that boots', () => {
  const { options } = parse('--kernel', '6.1', '--', 'true');
  expect(options).toMatchObject({ headers: false, compile: false, env: {}, shares: [] });
  expect(options.memory).toBeUndefined();
  expect(options.cpus).toBeUndefined();
  expect(options.timeout).toBeUndefined();
});

test('asks for help only where the option is its own', () => {
  expect(parse('--help').help).toBe(true);
  expect(parse('--kernel', '6.1', '--', 'node', '--help').help).toBe(false);
  expect(usage).toContain('6.1 or 6.12');
});

test.each([
  ['an unknown kernel', ['--kernel', '5.4', '--', 'true'], /no kernel called '5\.4'.*\n.*6\.1, 6\.12/],
  ['a property of every object', ['--kernel', 'toString', '--', 'true'], /no kernel called 'toString'/],
  ['no kernel', ['--', 'true'], /6\.1, 6\.12/],
  ['no command', ['--kernel', '6.1'], /no command/],
  ['an empty command', ['--kernel', '6.1', '--'], /no command/],
  ['a command without its --', ['--kernel', '6.1', 'uname', '--', '-r'], /'uname' is no option\n.*Put --/],
  ['an unknown option', ['--kernal', '6.1', '--', 'true'], /--kernal.*\n.*--help/s],
  ['an option without its value', ['--kernel', '6.1', '--memory', '--', 'true'], /--memory/],
  [
    'memory that is no number',
    ['--kernel', '6.1', '--memory', '2G', '--', 'true'],
    /whole number of at least 256, not '2G'/,
  ],
  ['too little memory', ['--kernel', '6.1', '--memory', '20', '--', 'true'], /at least 256, not '20'/],
  ['no processors', ['--kernel', '6.1', '--cpus', '0', '--', 'true'], /--cpus wants/],
  ['a variable without a value', ['--kernel', '6.1', '--env', 'CI', '--', 'true'], /NAME=value, not 'CI'/],
  ['a name that no shell takes', ['--kernel', '6.1', '--env', 'a-b=c', '--', 'true'], /not 'a-b=c'/],
])('names the mistake: %s', (_what, argv, message) => {
  expect(() => parse(...argv)).toThrow(message);
});
