// Where it lies: the address space as boxes in rows, and single live blocks. Both are of one moment.

// What areas are drawn as; runtimes' heaps and what is left share a colour each.
const AREA_TONES = {
  heap: 0, 'large blocks': 1, mapping: 2, 'thread stack': 3, module: 4, file: 5, 'shared memory': 6,
  'Go heap': 7, 'V8 heap': 7, 'JVM heap': 7, 'named mapping': 7,
};
const areaTone = (kind) => `tone-${AREA_TONES[kind] ?? 'rest'}`;

// Areas further apart than this begin a row of their own; what is between is folded.
const FOLDED_GAP = 64 * 1024 * 1024;
// Rows of the list of blocks that are in the page unless all are asked for.
const BLOCK_ROWS = 100;

const SITE_AT = new Map(Array.from({ length: SITE_COUNT }, (_, site) => [field('id', site), site]));

// Rows of a packed list, each with its address as a number.
function rowsOf({ count: rows, at, columns }, paths) {
  const readers = paths.map((path) => [path, accessor(columns, path)]);
  const steps = numbers(at);
  let from = 0;
  return Array.from({ length: rows }, (_, row) => {
    from += signed(steps[row]);
    return { from, ...Object.fromEntries(readers.map(([path, read]) => [path, read(row)])) };
  });
}

// The areas of a process by address, with numbers for addresses.
function areasOf(space) {
  return rowsOf(space, ['bytes', 'kind', 'name', 'arena', 'thread', 'site', 'resident_bytes', 'swapped_bytes', 'unmapped_bytes', 'ranges'])
    .map((area) => ({ ...area, start: hex(area.from), to: area.from + area.bytes, mapped: area.bytes - area.unmapped_bytes }));
}

function blocksOf(blocks) {
  return rowsOf(blocks, ['bytes', 'resident_bytes', 'age_s', 'site', 'function', 'lost'])
    .map((block) => {
      const at = SITE_AT.get(block.site);
      return {
        ...block, address: hex(block.from), at,
        name: at === undefined ? block.function ?? (block.site == null ? '(not known)' : `site ${block.site}`) : shortName(at),
        place: at === undefined || !blamed(at) ? '' : shortPlace(blamed(at)),
      };
    });
}

function areaName(area) {
  const at = SITE_AT.get(area.site);
  const which = area.arena != null ? (area.arena === 1 ? 'main arena' : `arena ${area.arena}`)
    : area.thread != null ? `${area.name ?? 'thread'} ${area.thread}`
      : at !== undefined ? `by ${shortName(at)}`
        : area.name == null ? null : area.kind === 'module' || area.kind === 'file' ? fileName(area.name) : area.name;
  return which ? `${area.kind}, ${which}` : area.kind;
}

function areaDetails(area) {
  const long = area.thread == null && area.name != null && area.name.includes('/') ? ` ${area.name}` : '';
  return [
    `${areaName(area)}: ${bytes(area.mapped)} from ${area.start} to ${hex(area.to)}`,
    `${bytes(area.resident_bytes)} resident (${percent(area.resident_bytes, area.mapped)})`,
    area.swapped_bytes > 0 && `${bytes(area.swapped_bytes)} swapped out`,
    area.ranges > 1 && `${count(area.ranges)} mappings told as one${area.unmapped_bytes > 0 ? `, ${bytes(area.unmapped_bytes)} between them not mapped` : ''}`,
  ].filter(Boolean).join(' · ') + (long ? ` ·${long}` : '');
}

// Areas that lie near each other, row by row.
function runsOf(areas) {
  const runs = [];
  for (const area of areas) {
    const last = runs.at(-1);
    const gap = last ? area.from - last.at(-1).to : Infinity;
    if (gap > FOLDED_GAP) runs.push([area]);
    else last.push(area);
  }
  return runs;
}

// The picture; `onChoose` is told which area was chosen, or null.
function spacePicture(areas, onChoose) {
  const says = h('p', { id: 'space-says', class: 'flame-says', 'aria-live': 'polite' });
  const idle = 'Point at an area, or go from one to the next with the arrow keys. Enter shows its blocks alone.';
  let chosen = null;
  const say = (area) => { says.textContent = area ? areaDetails(area) : chosen ? areaDetails(chosen.area) : idle; };
  // The cube root of the length: beside 64 MiB a page can still be seen.
  const width = (size) => Math.max(7, Math.min(900, Math.cbrt(size / 4096) * 7));
  const boxes = areas.map((area) => {
    const share = area.mapped > 0 ? Math.min(1, area.resident_bytes / area.mapped) : 0;
    const box = h('div', {
      class: `area ${areaTone(area.kind)}`, role: 'button', tabindex: -1, 'aria-pressed': 'false',
      'aria-label': areaDetails(area), style: { width: `${width(area.mapped).toFixed(0)}px` },
    }, area.resident_bytes > 0 && h('span', { class: 'area-there', style: { height: `${(share * 100).toFixed(1)}%` } }),
    width(area.mapped) > 70 && h('span', { class: 'area-name' }, areaName(area)));
    box.area = area;
    return box;
  });
  if (boxes[0]) boxes[0].tabIndex = 0;
  const boxOf = new Map(areas.map((area, at) => [area, boxes[at]]));
  let last = null;
  const rows = runsOf(areas).map((run) => {
    const gap = last == null ? null : h('div', { class: 'space-gap' }, `${bytes(run[0].from - last)} not mapped`);
    const inside = run.flatMap((area, at) => [
      at > 0 && area.from > run[at - 1].to && h('span', { class: 'area-gap', title: `${bytes(area.from - run[at - 1].to)} not mapped` }),
      boxOf.get(area),
    ]);
    last = run.at(-1).to;
    return [gap, h('div', { class: 'space-row' }, h('code', { class: 'space-from' }, run[0].start), h('div', { class: 'space-run' }, inside))];
  });
  const choose = (box) => {
    if (chosen) chosen.setAttribute('aria-pressed', 'false');
    chosen = chosen === box ? null : box;
    if (chosen) chosen.setAttribute('aria-pressed', 'true');
    say(null);
    onChoose(chosen ? chosen.area : null);
  };
  const boxAt = (event) => event.target.closest('.area');
  const focus = (box) => {
    const before = boxes.find((one) => one.tabIndex === 0);
    if (before) before.tabIndex = -1;
    box.tabIndex = 0;
    box.focus();
  };
  const view = h('div', {
    id: 'space', class: 'space', role: 'group', 'aria-label': 'Areas of the address space',
    on: {
      pointerover: (event) => { if (boxAt(event)) say(boxAt(event).area); },
      pointerleave: () => say(null),
      focusin: (event) => { if (boxAt(event)) say(boxAt(event).area); },
      focusout: () => say(null),
      click: (event) => { if (boxAt(event)) { focus(boxAt(event)); choose(boxAt(event)); } },
      keydown: (event) => {
        const at = boxes.indexOf(document.activeElement);
        const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: boxes.length - 1 }[event.key];
        if (at < 0) return;
        if (to !== undefined) focus(boxes[Math.max(0, Math.min(boxes.length - 1, to))]);
        else if (event.key === 'Enter' || event.key === ' ') choose(boxes[at]);
        else if (event.key === 'Escape' && chosen) choose(chosen);
        else return;
        event.preventDefault();
      },
    },
  }, rows);
  say(null);
  // Areas that hold blocks of the list are marked while the list is filtered.
  const mark = (held) => boxes.forEach((box) => box.classList.toggle('hit', held != null && held.has(box.area)));
  return { says, view, mark };
}

function spaceLegend(areas) {
  const sums = new Map();
  for (const area of areas) {
    const entry = sums.get(area.kind) ?? [0, 0];
    entry[0] += area.mapped;
    entry[1] += area.resident_bytes;
    sums.set(area.kind, entry);
  }
  return h('ul', { class: 'legend' }, [...sums].sort((a, b) => b[1][1] - a[1][1]).map(([kind, [mapped, resident]]) =>
    h('li', null, h('span', { class: `swatch ${areaTone(kind)}`, 'aria-hidden': 'true' }), `${kind} `,
      h('b', null, bytes(resident)), ` of ${bytes(mapped)}`)));
}

const BLOCK_COLUMNS = [
  { id: 'from', label: 'Address', show: (block) => h('code', null, block.address), ascending: true },
  { id: 'bytes', label: 'Size', number: true, show: (block) => bytes(block.bytes) },
  { id: 'resident_bytes', label: 'Resident', number: true, show: (block) => bytes(block.resident_bytes) },
  { id: 'age_s', label: 'Age', number: true, show: (block) => duration(block.age_s) },
  {
    id: 'name', label: 'Allocated by', ascending: true,
    show: (block) => [
      block.at === undefined ? block.name
        : h('button', { type: 'button', class: 'link', on: { click: () => showSite(block.at) } }, block.name),
      ' ', h('span', { class: 'place' }, block.place), block.lost && [' ', verdictBadge('lost')]],
  },
];

// The list; `onShown` is told which blocks are shown, or null if all are.
function blockList(of, onShown) {
  const blocks = blocksOf(of);
  const state = { words: '', area: null, sort: 'bytes', descending: true, all: false };
  const says = h('output', { id: 'blocks-say', 'aria-live': 'polite' });
  const body = h('tbody', { id: 'block-rows' });
  const more = h('button', { type: 'button', id: 'blocks-all', on: { click: () => { state.all = true; draw(); } } });
  const headings = BLOCK_COLUMNS.map((column) => h('th', { scope: 'col', class: column.number ? 'number' : null },
    h('button', {
      type: 'button', 'data-block-sort': column.id,
      on: { click: () => {
        state.descending = state.sort === column.id ? !state.descending : !column.ascending;
        state.sort = column.id;
        draw();
      } },
    }, column.label)));
  const matches = (block, words) => {
    // An address finds the block that it is in.
    if (/^0x[0-9a-f]+$/.test(words)) {
      const address = parseInt(words, 16);
      return block.address.startsWith(words) || (address >= block.from && address < block.from + Math.max(block.bytes, 1));
    }
    return words.split(/\s+/).every((word) => `${block.name} ${block.function ?? ''} ${block.place} ${block.site} ${block.lost ? 'lost' : ''}`.toLowerCase().includes(word));
  };
  function draw() {
    const words = state.words.trim().toLowerCase();
    const { area } = state;
    const shown = blocks.filter((block) => (words === '' || matches(block, words))
      && (area == null || (block.from >= area.from && block.from < area.to)));
    const sign = state.descending ? -1 : 1;
    shown.sort((a, b) => sign * (typeof a[state.sort] === 'string' ? a[state.sort].localeCompare(b[state.sort]) : a[state.sort] - b[state.sort]) || a.from - b.from);
    const rows = state.all ? shown : shown.slice(0, BLOCK_ROWS);
    body.replaceChildren(...rows.map((block) => h('tr', null, BLOCK_COLUMNS.map((column) =>
      h('td', { class: column.number ? 'number' : null }, column.show(block))))));
    more.hidden = rows.length === shown.length;
    more.textContent = `Show all ${count(shown.length)}`;
    headings.forEach((heading, at) => {
      const isSorted = BLOCK_COLUMNS[at].id === state.sort;
      if (isSorted) heading.setAttribute('aria-sort', state.descending ? 'descending' : 'ascending');
      else heading.removeAttribute('aria-sort');
    });
    const sum = shown.reduce((total, block) => total + block.bytes, 0);
    says.textContent = `${count(shown.length)} of ${plural(blocks.length, 'listed block')} · ${bytes(sum)}${area ? ` · in ${areaName(area)} at ${area.start}` : ''}`;
    onShown(words === '' ? null : shown);
  }
  const filter = h('input', { type: 'search', id: 'block-filter', placeholder: 'function, file, call site, address', on: { input() { state.words = filter.value; state.all = false; draw(); } } });
  const { head } = of;
  const chosen = `${count(head.chosen)} of ${plural(head.known_blocks, 'live block')} with ${bytes(head.known_bytes)}, ${duration(head.at_s)} after the start: of ${
    head.known_sites > head.sites ? `the ${count(head.sites)} call sites with most live bytes, of ${count(head.known_sites)}` : 'each call site'}, the ${
    count(head.largest)} largest and the ${count(head.oldest)} oldest.${head.complete ? '' : ' Not every live block was known.'}`;
  const element = h('div', { class: 'stack-of' },
    h('h3', null, 'Single live blocks'), h('p', { class: 'muted' }, chosen),
    h('div', { class: 'controls' }, h('label', null, 'Filter ', filter), says),
    h('div', { class: 'table-view blocks-view', tabindex: 0, role: 'region', 'aria-label': 'Single live blocks' },
      h('table', { class: 'small blocks' }, h('caption', { class: 'hidden' }, 'Single live blocks'),
        h('thead', null, h('tr', null, headings)), body)),
    more);
  return { element, draw, choose: (area) => { state.area = area; state.all = false; draw(); } };
}

function placesSection() {
  const all = DATA.places.list;
  if (all.length === 0) return null;
  const content = h('div', { class: 'stack-of' });
  const draw = (of) => {
    const areas = of.areas ? areasOf(of.areas) : [];
    let list = null;
    const picture = areas.length > 0 ? spacePicture(areas, (area) => list?.choose(area)) : null;
    const holding = (shown) => new Set(shown.map((block) => areas.find((area) => block.from >= area.from && block.from < area.to)));
    list = of.blocks ? blockList(of.blocks, (shown) => picture?.mark(shown && holding(shown))) : null;
    const sum = (what) => areas.reduce((total, area) => total + area[what], 0);
    const { head } = of.areas ?? {};
    content.replaceChildren(...[
      picture && h('p', null, `${bytes(sum('mapped'))} of addresses in ${plural(areas.length, 'area')}, ${bytes(sum('resident_bytes'))} of it resident, ${
        duration(head.at_s)} after the start. The width of a box grows with the cube root of its length; it is filled as far as it is resident.${head.complete ? '' : ' Not every mapping is in it.'}`),
      picture && spaceLegend(areas), picture?.says, picture?.view,
      list ? list.element : missing('Single blocks were not written down.'),
    ].filter(Boolean));
    list?.draw();
  };
  const name = (of) => {
    const process = REPORT.processes[of.process];
    return `${fileName(process?.exe)} (pid ${process?.pid})`;
  };
  const which = h('select', { id: 'places-of', on: { change() { draw(all[which.value]); } } },
    all.map((of, at) => h('option', { value: at }, name(of))));
  const left = DATA.places.left_out;
  const element = section('places', 'Where it lies',
    all.length > 1 && h('div', { class: 'controls' }, h('label', null, 'Process ', which)), content,
    left > 0 && missing(`The addresses of ${count(left)} more ${left === 1 ? 'process is' : 'processes are'} not in this page: report a process alone, or --format json.`));
  element.start = () => draw(all[0]);
  return element;
}
