import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { FlameGraph } from '../../src/cli/flamegraph';
import { itIf } from '../helpers';
import { withTempDir } from '../helpers/processes';

const user = (name: string) => ({ name, kernel: false });
const kernel = (name: string) => ({ name, kernel: true });

function graph(): string {
  const flames = new FlameGraph();
  flames.add([user('node'), user('main'), user('a<b>&"c"')], 60);
  flames.add([user('node'), user('main'), user('read'), kernel('vfs_read')], 30);
  flames.add([user('bash')], 10);
  return flames.svg({ title: 'CPU & time', unit: 'samples' });
}

it('a flame graph adds up what stacks share', () => {
  const svg = graph();
  expect(svg).toContain('<title>all (100 samples, 100.00%)</title>');
  expect(svg).toContain('<title>main (90 samples, 90.00%)</title>');
  expect(svg).toContain('data-n="vfs_read" data-x="0.7" data-w="0.3" data-d="4"');
});

it('a flame graph escapes names and is legible without a script', () => {
  const svg = graph();
  expect(svg).toContain('data-n="a&lt;b&gt;&amp;&quot;c&quot;"');
  expect(svg).toContain('>CPU &amp; time</text>');
  expect(svg).toMatch(
    /data-n="bash"[^>]*><title>[^<]*<\/title><rect x="10\.0" y="\d+" width="118\.0" [^>]*\/><text [^>]*>bash</,
  );
});

it('a flame graph leaves out what nobody could see', () => {
  const flames = new FlameGraph();
  flames.add([user('large')], 1_000_000);
  flames.add([user('tiny')], 1);
  expect(flames.svg({ title: '', unit: 'samples' })).not.toContain('data-n="tiny"');
});

const chromium = ['chromium', 'chromium-browser', 'google-chrome'].find(
  (name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0,
);

/** The document after `script` has run in it, in a browser window 1000 wide. */
function inBrowser(script: string): Promise<string> {
  return withTempDir((folder) => {
    const file = path.join(folder, 'graph.svg');
    writeFileSync(file, graph().replace(']]></script>', `\n${script}\n]]></script>`));
    const options = [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--window-size=1000,800',
      `--user-data-dir=${folder}`,
    ];
    return execFileSync(chromium!, [...options, '--dump-dom', `file://${file}`], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  });
}

function widthIn(dom: string, name: string): number | undefined {
  const box = new RegExp(`<g data-n="${name}"([^>]*)>.*?width="([\\d.]+)"`).exec(dom);
  return box === null || box[1]!.includes('display: none') ? undefined : Number(box[2]);
}

const needsBrowser = { when: chromium !== undefined, reason: 'no Chromium is installed' };

itIf(needsBrowser, 'a flame graph fills the browser window, and zooms where it is clicked', async () => {
  const before = await inBrowser('');
  expect(widthIn(before, 'all')).toBe(980);
  expect(widthIn(before, 'read')).toBeCloseTo(294);
  const click = `all.find((box) => box.name === 'read').g.dispatchEvent(new MouseEvent('click'));`;
  const zoomed = await inBrowser(click);
  expect(widthIn(zoomed, 'read')).toBe(980);
  expect(widthIn(zoomed, 'vfs_read')).toBe(980);
  expect(widthIn(zoomed, 'bash')).toBeUndefined();
  const back = await inBrowser(`${click} all[0].g.dispatchEvent(new MouseEvent('click'));`);
  expect(widthIn(back, 'read')).toBeCloseTo(294);
  expect(widthIn(back, 'bash')).toBeCloseTo(98);
});

itIf(needsBrowser, 'a flame graph marks what is searched for and tells its share', async () => {
  const dom = await inBrowser(`search.value = 'READ'; search.dispatchEvent(new Event('input'));`);
  expect(dom).toMatch(/<g data-n="read"[^>]*class="found"/);
  expect(dom).not.toMatch(/<g data-n="main"[^>]*class="found"/);
  expect(dom).toContain('2 found, 30.00% of all');
});
