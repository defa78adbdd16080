import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import path from 'node:path';
import { itIf, kernelHas, requireRoot, stopProcess } from '../helpers';
import { DISK, type Outcome, ROOT, SCRIPT_TIMEOUT, useScripts } from '../helpers/scripts';

requireRoot();

const CLI = path.join(ROOT, 'lib/cli/main.js');
const scripts = useScripts('tools');

/** Runs a tool while `work` is done again and again, until it ends by itself or its output has `until`: then Ctrl-C. */
function runTool(args: string[], work?: () => void, until?: RegExp): Promise<Outcome> {
  return scripts.run([CLI, ...args], work, until);
}

/** The ends of children of this process, to be looked for in what a tool printed. */
class Children {
  readonly pids: number[] = [];

  readonly run = (program: string, ...args: string[]) => {
    this.pids.push(spawnSync(program, args, { stdio: 'ignore' }).pid);
  };
}

describe('execsnoop', () => {
  it(
    'prints a program with its pid, its parent and its arguments',
    async () => {
      const children = new Children();
      const row = /^echo +(\d+) +(\d+) +0 \/bin\/echo one two words$/m;
      const { stdout, code } = await runTool(['execsnoop'], () => children.run('/bin/echo', 'one', 'two words'), row);
      expect(stdout).toMatch(/^PCOMM +PID +PPID +RET ARGS\n/);
      const [, pid, ppid] = row.exec(stdout)!;
      expect(children.pids).toContain(Number(pid));
      expect(Number(ppid)).toBe(process.pid);
      expect(code).toBe(0);
    },
    SCRIPT_TIMEOUT,
  );

  it(
    'tells failures, quotes arguments and filters by parent and name as asked',
    async () => {
      const work = () => {
        spawnSync('sh', ['-c', 'exec /nonexistent/program'], { stdio: 'ignore' });
        spawnSync('/bin/true');
      };
      const options = ['execsnoop', '-x', '-q', '-U', '-P', String(process.pid), '-n', '^sh$'];
      const { stdout } = await runTool(options, work, / -2 "\/nonexistent\/program"/);
      expect(stdout).toMatch(/^0 +sh +\d+ +\d+ +-2 "\/nonexistent\/program"$/m);
      expect(stdout).not.toMatch(/ true /);
    },
    SCRIPT_TIMEOUT,
  );

  it(
    'ends well where its reader has gone',
    async () => {
      const pipe = spawn('sh', ['-c', `"$0" "$1" execsnoop | head -n 2`, process.execPath, CLI], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      scripts.end(pipe);
      let stderr = '';
      pipe.stderr.on('data', (chunk) => {
        stderr += chunk;
      });
      pipe.stdout.resume();
      const timer = setInterval(() => spawnSync('/bin/true'), 100);
      await new Promise((resolve) => pipe.once('close', resolve));
      clearInterval(timer);
      expect(stderr).toBe('');
    },
    SCRIPT_TIMEOUT,
  );
});

describe('opensnoop', () => {
  it(
    'prints files that this process opens, and with which result',
    async () => {
      const file = path.join(ROOT, 'package.json');
      const work = () => {
        readFileSync(file);
        existsSync('x');
        try {
          openSync('/nonexistent/file', 'r');
        } catch {
          // ENOENT is what it is for.
        }
      };
      const { stdout } = await runTool(['opensnoop', '-p', String(process.pid)], work, /\/nonexistent\/file\n/);
      expect(stdout).toMatch(/^PID +COMM +FD ERR PATH\n/);
      expect(stdout).toMatch(new RegExp(`^${process.pid} +\\S.* +-1 +2 /nonexistent/file$`, 'm'));
      expect(stdout).toMatch(new RegExp(`^${process.pid} +\\S.* +\\d+ +0 ${file}$`, 'm'));
    },
    SCRIPT_TIMEOUT,
  );

  it(
    'shows only failures, or only what is opened with a flag',
    async () => {
      const file = path.join(scripts.folder, 'written');
      const work = () => {
        closeSync(openSync(file, 'w'));
        readFileSync(file);
      };
      const options = ['opensnoop', '-e', '-p', String(process.pid), '-f', 'O_CREAT'];
      const { stdout } = await runTool(options, work, /written\n/);
      const rows = stdout.trimEnd().split('\n').slice(1);
      expect(rows.length).toBeGreaterThan(0);
      for (const row of rows) expect(row).toMatch(/^\d+ +\S.* +\d+ +0 0\d*1\d\d\d .*written$/);
    },
    SCRIPT_TIMEOUT,
  );
});

describe('syscount', () => {
  it(
    'counts the calls of one process by name and by time',
    async () => {
      const work = () => {
        for (let i = 0; i < 50; i++) process.kill(process.pid, 0);
      };
      const options = ['syscount', '-L', '-p', String(process.pid), '-d', '2', '-T', '50'];
      const { stdout } = await runTool(options, work);
      expect(stdout).toMatch(/^SYSCALL +COUNT +TIME \(us\)$/m);
      const [, count, time] = /^kill +(\d+) +([\d.]+)$/m.exec(stdout)!;
      expect(Number(count)).toBeGreaterThanOrEqual(50);
      expect(Number(count) % 50).toBe(0);
      expect(Number(time)).toBeGreaterThan(0);
    },
    SCRIPT_TIMEOUT,
  );

  it(
    'counts failures with one errno by process',
    async () => {
      const work = () => existsSync('/nonexistent/file');
      const { stdout } = await runTool(['syscount', '-P', '-e', 'ENOENT', '-d', '2', '-p', String(process.pid)], work);
      expect(stdout).toMatch(new RegExp(`^PID +COMM +COUNT\\n${process.pid} +\\S.* +\\d+$`, 'm'));
    },
    SCRIPT_TIMEOUT,
  );

  it('refuses an errno that there is not', async () => {
    const { stderr, code } = await runTool(['syscount', '-e', 'ENOTHING']);
    expect(stderr).toMatch(/^tsbcc: --errno takes a number or a name like ENOENT/);
    expect(code).toBe(2);
  });
});

describe('funccount', () => {
  it(
    'counts tracepoints, each by its name',
    async () => {
      const work = () => process.kill(process.pid, 0);
      const options = ['funccount', '-d', '2', '-p', String(process.pid), 't:syscalls:sys_enter_ki*'];
      const { stdout } = await runTool(options, work);
      expect(stdout).toMatch(/^FUNC +COUNT$/m);
      expect(Number(/^syscalls:sys_enter_kill +(\d+)$/m.exec(stdout)![1])).toBeGreaterThan(5);
    },
    SCRIPT_TIMEOUT,
  );

  itIf(
    'uprobes',
    'counts functions of a library',
    async () => {
      const { stdout } = await runTool(['funccount', '-d', '2', 'c:getpgrp'], () =>
        spawnSync('bash', ['-c', ':'], { stdio: 'ignore' }),
      );
      expect(Number(/^getpgrp +(\d+)$/m.exec(stdout)![1])).toBeGreaterThan(0);
    },
    SCRIPT_TIMEOUT,
  );

  itIf(
    'kprobes',
    'counts kernel functions',
    async () => {
      const work = () => readFileSync('/proc/self/stat');
      const { stdout } = await runTool(['funccount', '-d', '2', '-p', String(process.pid), 'vfs_*'], work);
      expect(Number(/^vfs_read +(\d+)$/m.exec(stdout)![1])).toBeGreaterThan(0);
    },
    SCRIPT_TIMEOUT,
  );

  itIf(
    { when: !kernelHas('kprobes'), reason: 'this kernel has kprobes' },
    'says what to count on a kernel without kprobes',
    async () => {
      const { stderr, code } = await runTool(['funccount', 'vfs_read']);
      expect(stderr).toMatch(/^tsbcc: this kernel has no kprobes.*\n {2}hint: count tracepoints/);
      expect(code).toBe(1);
    },
    SCRIPT_TIMEOUT,
  );

  it('says that nothing has such a name', async () => {
    const { stderr, code } = await runTool(['funccount', 't:sched:nothing_*']);
    expect(stderr).toMatch(/no tracepoint has a name like "sched:nothing_\*"/);
    expect(code).toBe(1);
  });
});

describe('hist', () => {
  const PRINTED = /\n *\S+ -> \S+ +: \d+ /;

  it(
    'draws fields of a tracepoint in powers of two, and counts others',
    async () => {
      const work = () => writeSync(openDevNull(), Buffer.alloc(3000));
      const size = 't:syscalls:sys_enter_write():u64:args->count:args->count==3000#bytes';
      const kill = 't:syscalls:sys_enter_write():u64:args->count:args->count==3000';
      const { stdout } = await runTool(
        ['hist', '-n', '1', '-i', '2', '-p', String(process.pid), '-H', size, '-C', kill],
        work,
      );
      expect(stdout).toMatch(/^ +bytes +: count +distribution$/m);
      expect(Number(/^ +2048 -> 4095 +: (\d+) /m.exec(stdout)![1])).toBeGreaterThan(5);
      expect(stdout).toMatch(/^\tCOUNT +EVENT\n\t\d+ +args->count = 3000$/m);
    },
    SCRIPT_TIMEOUT,
  );

  itIf(
    'uprobes',
    'knows what a library function was called with when it returns',
    async () => {
      const specifier = 'r:c:getenv(char *name):char*,u64:$entry(name),$latency > 0';
      const { stdout } = await runTool(
        ['hist', '-c', '-C', specifier],
        () => spawnSync('bash', ['-c', ':'], { stdio: 'ignore' }),
        /\$entry\(name\) = "\w+" and \$latency > 0 = 1\n/,
      );
      expect(stdout).toContain(`${specifier}\n\tCOUNT      EVENT\n`);
    },
    SCRIPT_TIMEOUT,
  );

  it.each([
    ['--bars', /^ *2048 - 4095 +\d+ 100\.0% █+$/m],
    ['--bars --ascii', /^ *2048 - 4095 +\d+ 100\.0% #+$/m],
    ['--heatmap', /^\d\d:\d\d:\d\d +█+$/m],
    ['--heatmap --ascii', /^\d\d:\d\d:\d\d +@+$/m],
  ])(
    'draws pictures with %s',
    async (form, drawn) => {
      const work = () => writeSync(openDevNull(), Buffer.alloc(3000));
      const size = 't:syscalls:sys_enter_write():u64:args->count:args->count==3000#b';
      const options = ['hist', ...form.split(' '), '-p', String(process.pid), '-H', size];
      const { stdout, code } = await runTool(options, work, drawn);
      expect(stdout).toMatch(drawn);
      expect(stdout).not.toMatch(PRINTED);
      expect(code).toBe(0);
    },
    SCRIPT_TIMEOUT,
  );

  it('says how a specifier is written', async () => {
    const { stderr, code } = await runTool(['hist', '-H', 'nonsense']);
    expect(stderr).toMatch(/^tsbcc: "nonsense" is no specifier: give p:/);
    expect(code).toBe(2);
  });

  let devNull: number | undefined;
  function openDevNull(): number {
    devNull ??= openSync('/dev/null', 'w');
    return devNull;
  }
  afterAll(() => {
    if (devNull !== undefined) closeSync(devNull);
  });
});

describe('tcpconnect', () => {
  let server: Server;
  let port: number;
  beforeAll(async () => {
    server = createServer((socket) => socket.end());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    port = (server.address() as { port: number }).port;
  });
  afterAll(() => server.close());

  const dial = () =>
    connect(port, '127.0.0.1')
      .on('error', () => {})
      .resume();

  it(
    'prints who connects where',
    async () => {
      const row = new RegExp(`^${process.pid} +\\S.* 4 +127\\.0\\.0\\.1 +127\\.0\\.0\\.1 +${port}$`, 'm');
      const { stdout } = await runTool(['tcpconnect', '-P', String(port)], dial, row);
      expect(stdout).toMatch(/^PID +COMM +IP SADDR +DADDR +DPORT\n/);
      expect(stdout).toMatch(row);
    },
    SCRIPT_TIMEOUT,
  );

  it(
    'tells the own port too, and counts',
    async () => {
      const ports = new Set<number>();
      const work = () => {
        const socket = dial();
        socket.once('connect', () => ports.add(socket.localPort!));
      };
      const row = new RegExp(`^${process.pid} +\\S.* 4 +127\\.0\\.0\\.1 +(\\d+) +127\\.0\\.0\\.1 +${port}$`, 'm');
      const { stdout } = await runTool(['tcpconnect', '-L', '-p', String(process.pid)], work, row);
      expect(ports).toContain(Number(row.exec(stdout)![1]));
      const counted = await runTool(['tcpconnect', '-c', '-d', '1', '-p', String(process.pid)], work);
      expect(counted.stdout).toMatch(new RegExp(`^127\\.0\\.0\\.1 +127\\.0\\.0\\.1 +${port} +\\d+$`, 'm'));
    },
    SCRIPT_TIMEOUT,
  );
});

describe('biolatency', () => {
  const work = scripts.writeToDisk;

  itIf(
    DISK,
    'draws how long requests take, by disk where asked to',
    async () => {
      const { stdout } = await runTool(['biolatency', '-D', '-e', '2', '1'], work);
      expect(stdout).toMatch(/^disk = \w+\n +usecs +: count +distribution$/m);
      const counted = [...stdout.matchAll(/ -> \d+ +: (\d+) /g)].reduce((sum, [, count]) => sum + Number(count), 0);
      expect(Number(/^avg = \d+ usecs, total: \d+ usecs, count: (\d+)$/m.exec(stdout)![1])).toBeGreaterThan(0);
      expect(counted).toBeGreaterThan(0);
    },
    SCRIPT_TIMEOUT,
  );

  it('refuses a disk that there is not', async () => {
    const { stderr, code } = await runTool(['biolatency', '-d', 'nodisk']);
    expect(stderr).toMatch(/^tsbcc: there is no disk "nodisk"/);
    expect(code).toBe(2);
  });
});

describe('runqlat', () => {
  it(
    "draws one process's waits after each interval",
    async () => {
      const { stdout, code } = await runTool(['runqlat', '-P', '-p', String(process.pid), '1', '2']);
      expect(stdout).toMatch(new RegExp(`^pid = ${process.pid} \\S.*\\n +usecs +: count +distribution$`, 'm'));
      expect(stdout.match(/^pid = /gm)).toHaveLength(2);
      expect(code).toBe(0);
    },
    SCRIPT_TIMEOUT,
  );
});

describe('profile', () => {
  let busy: ChildProcess;
  beforeAll(() => {
    const script = 'function spin() { for (;;) Math.sqrt(Math.random()); } spin()';
    busy = spawn(process.execPath, ['--perf-basic-prof', '--no-turbo-inlining', '-e', script], {
      cwd: scripts.folder,
      stdio: 'ignore',
    });
  });
  afterAll(async () => {
    await stopProcess(busy);
    rmSync(`/tmp/perf-${busy.pid}.map`, { force: true });
  });

  it(
    'folds stacks of one process, JavaScript functions by name',
    async () => {
      const { stdout, stderr } = await runTool(['profile', '-f', '-F', '199', '-p', String(busy.pid), '2']);
      // Two stacks whose hashes collide have one place, however large the table is.
      expect(stderr).toMatch(/^(tsbcc: \d+ stacks had no room: .*\n)?$/);
      expect(stdout).toMatch(/^\S+;.*\bspin\b.* \d+$/m);
      const samples = [...stdout.matchAll(/ (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
      expect(samples).toBeGreaterThan(20);
    },
    SCRIPT_TIMEOUT,
  );

  it(
    'writes a flame graph that is well-formed and says how many samples it is of',
    async () => {
      const file = path.join(scripts.folder, 'out.svg');
      const { stdout } = await runTool(['profile', '-F', '99', '-p', String(busy.pid), '--flamegraph', file, '1']);
      const samples = Number(new RegExp(`^${file}: (\\d+) samples$`, 'm').exec(stdout)![1]);
      const svg = readFileSync(file, 'utf8');
      expect(svg).toContain(`<title>all (${samples} samples, 100.00%)</title>`);
      expect(svg).toMatch(/data-n="[^"]*spin/);
      for (const tag of ['g', 'title', 'svg', 'script'])
        expect(svg.split(`<${tag}`).length).toBe(svg.split(`</${tag}>`).length);
    },
    SCRIPT_TIMEOUT,
  );
});

it('every tool has help that names its options, and loads nothing native for it', () => {
  const usage = spawnSync(process.execPath, [CLI], { encoding: 'utf8' }).stdout;
  const tools = [...usage.slice(usage.indexOf('Tools:')).matchAll(/^ {2}(\w+) /gm)].map(([, name]) => name!);
  expect(tools).toContain('execsnoop');
  expect(tools).toHaveLength(9);
  for (const tool of tools) {
    const { stdout, status } = spawnSync(process.execPath, [CLI, tool, '--help'], { encoding: 'utf8' });
    expect(stdout).toMatch(new RegExp(`^Usage: tsbcc ${tool} `));
    expect(stdout).toMatch(/^ {2}-h, --help/m);
    expect(status).toBe(0);
  }
});
