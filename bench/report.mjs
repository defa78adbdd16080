/* What the benchmarks have in common: building their C++ sides, tables, and the files that keep the figures. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const at = (name) => fileURLToPath(new URL(name, import.meta.url));

export const PYTHON = '/usr/bin/python3';

/** Builds bench/NAME through cmake-js; the folder that holds its programs. */
export function build(name) {
  const built = at(`../build/bench/${name}`);
  // cmake-js fetches Node's headers unless it is told where they are: often beside Node itself.
  const nodedir = path.dirname(path.dirname(realpathSync(process.execPath)));
  const headers = existsSync(path.join(nodedir, 'include/node/node_api.h')) && { npm_config_nodedir: nodedir };
  const { status, stdout, stderr } = spawnSync(
    at('../node_modules/.bin/cmake-js'),
    ['compile', '-d', at(name), '-O', built],
    { encoding: 'utf8', env: { ...headers, ...process.env } },
  );
  if (status !== 0) throw new Error(`cmake-js could not build the C++ side:\n${stdout}${stderr}`);
  return built;
}

/** A table in Markdown. */
export function table(heads, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(heads), `|${heads.map(() => '---|').join('')}`, ...rows.map(line)].join('\n');
}

export const times = (ratio) => `${ratio < 10 ? ratio.toFixed(1) : ratio.toFixed(0)}×`;

function version(program, ...args) {
  return execFileSync(program, args, { encoding: 'utf8' }).trim();
}

/** What figures were measured on, and how busy it was. */
export function machine() {
  return {
    date: new Date().toISOString(),
    cpu: os.cpus()[0].model,
    cpus: os.availableParallelism(),
    kernel: os.release(),
    load: os.loadavg(),
    node: process.version,
    python: version(PYTHON, '--version'),
    libbcc: version('pkg-config', '--modversion', 'libbcc'),
    libbpf: version('pkg-config', '--modversion', 'libbpf'),
  };
}

/**
 * Keeps results in bench/results/NAME.json, those of parts not measured now staying as they were, and writes the table
 * that `print` makes of all of them into bench/README.md, between its marks.
 */
export function save(name, parts, print) {
  const file = at(`results/${name}.json`);
  const all = { ...(existsSync(file) && JSON.parse(readFileSync(file, 'utf8'))), ...parts };
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(all, null, 2)}\n`);

  const readme = at('README.md');
  const text = readFileSync(readme, 'utf8');
  const [begin, end] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`];
  const [from, to] = [text.indexOf(begin) + begin.length, text.indexOf(end)];
  if (to < from) throw new Error(`bench/README.md has no place for ${name}`);
  writeFileSync(readme, `${text.slice(0, from)}\n${print(all)}\n${text.slice(to)}`);
}
