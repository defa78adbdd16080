/** One frame of a stack, outermost first in stacks. */
export interface FlameFrame {
  name: string;
  kernel: boolean;
}

interface Node {
  name: string;
  kernel: boolean;
  count: number;
  children: Map<string, Node>;
}

const WIDTH = 1200;
const ROW = 17;
/** Above the boxes: the title, and a line for what the mouse is on. */
const TOP = 58;
const MARGIN = 10;
/** Of one letter of the font. */
const LETTER = 7.3;
const INNER = WIDTH - 2 * MARGIN;
/** Boxes narrower than this part of the whole are left out: nobody could click them. */
const LEAST_SHARE = 1 / 20_000;

/** Stacks with their counts, gathered into a tree. */
export class FlameGraph {
  readonly #root: Node = { name: 'all', kernel: false, count: 0, children: new Map() };

  /** Adds a stack, the outermost frame first. */
  add(frames: readonly FlameFrame[], count: number): void {
    let node = this.#root;
    node.count += count;
    for (const { name, kernel } of frames) {
      const key = `${kernel ? 'k' : 'u'}${name}`;
      let child = node.children.get(key);
      if (!child) {
        child = { name, kernel, count: 0, children: new Map() };
        node.children.set(key, child);
      }
      child.count += count;
      node = child;
    }
  }

  /**
   * An SVG document that works by itself in a browser, callers above what they call: a click on a box zooms to it, one on the topmost box zooms out
   * again, and what is typed into its field marks the functions whose names have that.
   */
  svg({ title, unit }: { title: string; unit: string }): string {
    const total = Math.max(1, this.#root.count);
    const least = total * LEAST_SHARE;
    const height = TOP + (deepest(this.#root, least) + 1) * ROW + MARGIN;
    const boxes: string[] = [];
    const draw = (node: Node, start: number, level: number): void => {
      if (node.count < least) return;
      const share = node.count / total;
      const tip = escaped(`${node.name} (${node.count} ${unit}, ${(100 * share).toFixed(2)}%)`);
      const data = `data-n="${escaped(node.name)}" data-x="${round(start / total)}" data-w="${round(share)}" data-d="${level}"`;
      boxes.push(`<g ${data}><title>${tip}</title>${picture(node, start / total, share, level)}</g>`);
      let at = start;
      // By name, as flame graphs are: the horizontal axis is not time.
      for (const child of [...node.children.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
        draw(child, at, level + 1);
        at += child.count;
      }
    };
    draw(this.#root, 0, 0);
    return `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="100%" height="${height}" font-family="monospace" font-size="12">
<style>
svg { background: #fffdf7 }
g { cursor: pointer }
g rect { stroke: #fffdf7; stroke-width: 0.6; rx: 2 }
g:hover rect { stroke: #222 }
g.found rect { fill: #b03fd0 }
g.outer { opacity: 0.55 }
text { fill: #1c1c1c; pointer-events: none }
#title { font-size: 16px }
input { width: 200px; font: 12px monospace; border: 1px solid #999; border-radius: 3px; padding: 2px 4px; box-sizing: border-box }
</style>
<text id="title" x="${MARGIN}" y="26">${escaped(title)}</text>
<foreignObject id="corner" x="${WIDTH - 210}" y="10" width="200" height="26"><input xmlns="http://www.w3.org/1999/xhtml" id="search" placeholder="search" aria-label="search"/></foreignObject>
<g id="boxes">
${boxes.join('\n')}
</g>
<text id="status" x="${MARGIN}" y="46"> </text>
<script><![CDATA[
${script()}
]]></script>
</svg>
`;
  }
}

/** The highest level with a box that is wide enough to be drawn. */
function deepest(node: Node, least: number): number {
  const levels = [...node.children.values()]
    .filter(({ count }) => count >= least)
    .map((child) => deepest(child, least));
  return levels.length === 0 ? 0 : 1 + Math.max(...levels);
}

/** A box where no script runs: as the script would draw it in a window of the usual width. */
function picture(node: Node, x: number, share: number, level: number): string {
  const [left, top] = [MARGIN + x * INNER, TOP + level * ROW];
  const room = Math.floor((share * INNER - 6) / LETTER);
  const text = room < 3 ? '' : node.name.length <= room ? node.name : `${node.name.slice(0, room - 2)}..`;
  const size = `width="${(share * INNER).toFixed(1)}" height="${ROW - 1}"`;
  const rect = `<rect x="${left.toFixed(1)}" y="${top}" ${size} fill="${colour(node)}"/>`;
  return `${rect}<text x="${(left + 3).toFixed(1)}" y="${top + 12}">${escaped(text)}</text>`;
}

/** What runs in the browser. */
function script(): string {
  return `const all = [...document.querySelectorAll('#boxes > g')].map((g) => ({
  g, name: g.dataset.n, x: +g.dataset.x, w: +g.dataset.w, depth: +g.dataset.d,
  rect: g.querySelector('rect'), text: g.querySelector('text'), tip: g.querySelector('title').textContent,
}));
const tiny = 1e-9;
let inner = ${INNER};
const status = document.getElementById('status'), search = document.getElementById('search');
let focus = all[0];
function show(box, x, w) {
  box.g.style.display = w * inner < 0.2 ? 'none' : '';
  const left = ${MARGIN} + x * inner, y = ${TOP} + box.depth * ${ROW};
  box.rect.setAttribute('x', left); box.rect.setAttribute('y', y);
  box.rect.setAttribute('width', w * inner); box.rect.setAttribute('height', ${ROW - 1});
  box.text.setAttribute('x', left + 3); box.text.setAttribute('y', y + 12);
  const room = Math.floor((w * inner - 6) / ${LETTER});
  box.text.textContent = room < 3 ? '' : box.name.length <= room ? box.name : box.name.slice(0, room - 2) + '..';
}
function zoom(to) {
  focus = to;
  for (const box of all) {
    const outer = box.depth < to.depth && box.x <= to.x + tiny && box.x + box.w >= to.x + to.w - tiny;
    const inside = box.depth >= to.depth && box.x >= to.x - tiny && box.x + box.w <= to.x + to.w + tiny;
    box.g.classList.toggle('outer', outer);
    if (outer) show(box, 0, 1);
    else if (inside) show(box, (box.x - to.x) / to.w, box.w / to.w);
    else box.g.style.display = 'none';
  }
  find();
}
function find() {
  const wanted = search.value.toLowerCase();
  const found = all.filter((box) => {
    const hit = wanted !== '' && box.depth > 0 && box.name.toLowerCase().includes(wanted);
    box.g.classList.toggle('found', hit);
    return hit;
  });
  // A function that calls itself counts once.
  found.sort((a, b) => a.x - b.x || a.depth - b.depth);
  let end = -1, sum = 0;
  for (const box of found) if (box.x >= end - tiny) { sum += box.w; end = box.x + box.w; }
  status.textContent = wanted === '' ? (focus.depth ? focus.tip : ' ') : found.length + ' found, ' + (100 * sum).toFixed(2) + '% of all';
}
for (const box of all) {
  box.g.addEventListener('click', () => zoom(box));
  box.g.addEventListener('mouseenter', () => { if (search.value === '') status.textContent = box.tip; });
}
search.addEventListener('input', find);
function fit() {
  const width = Math.max(300, document.documentElement.clientWidth || innerWidth);
  inner = width - ${2 * MARGIN};
  document.getElementById('corner').setAttribute('x', width - 210);
  zoom(focus);
}
addEventListener('resize', fit);
fit();`;
}

function round(share: number): string {
  return String(Number(share.toFixed(9)));
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

/** The same colour for the same name: warm ones in user space, blues in the kernel. */
function colour({ name, kernel }: Node): string {
  let hash = 2166136261;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 16777619);
  const one = (hash >>> 8) & 0xff;
  const two = (hash >>> 16) & 0xff;
  const hue = kernel ? 195 + (one * 25) / 255 : 12 + (one * 38) / 255;
  return `hsl(${hue.toFixed(0)},${kernel ? 60 : 85}%,${(62 + (two * 12) / 255).toFixed(0)}%)`;
}
