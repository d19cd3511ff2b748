// All sites, alone or taken together; filter, sort. Only the rows in view are in the page.

const VERDICTS = ['lost', 'growing', 'unclear', 'retained', 'healthy'];

// What a row can be by; the key of a site in it.
const GROUPINGS = {
  site: { label: 'call stack' },
  line: { label: 'line', of: (site) => (blamed(site) ? place(blamed(site)) : '(no stack)') },
  function: { label: 'function', of: (site) => (blamed(site) ? frameName(blamed(site)) : '(no stack)') },
  file: { label: 'file', of: (site) => blamed(site)?.file ?? '(no line numbers)' },
  module: { label: 'module', of: (site) => fileName(blamed(site)?.module) || '[jit]' },
  inclusive: {
    label: 'function with all it calls',
    all: (site) => new Set(frameIndices(site).map((index) => labels[labelOf(index)].name)),
  },
  calls: { label: 'function called', of: (site) => (field('calls', site) ?? []).join(', ') || '(not known)' },
  thread: { label: 'thread', of: (site) => (field('threads', site) ?? []).join(', ') || '(unknown thread)' },
};

// Lost bytes of a site whose finding that is.
function lostIn(site) {
  if (field('verdict', site) !== 'lost') return 0;
  return (field('lost.definite_bytes', site) ?? 0) + (field('lost.indirect_bytes', site) ?? 0);
}

// Columns: label, value of a row, how to write it, sorted upwards first.
const COLUMNS = [
  { id: 'verdict', label: 'Verdict', value: (row) => VERDICTS.indexOf(row.verdict), ascending: true },
  { id: 'name', label: 'Where', value: (row) => row.name, ascending: true },
  {
    id: 'live', label: 'Live', value: (row) => row.live, format: bytes,
    note: (row) => (row.lost > 0 ? `${bytes(row.lost)} lost` : row.peak > row.live && `peak ${bytes(row.peak)}`),
  },
  { id: 'growth', label: 'Change', value: (row) => row.growth, format: change, hint: 'live bytes at the end of the range less those at its first snapshot' },
  { id: 'rate', label: 'Rate', value: (row) => row.rate, format: (value) => (value == null ? '' : rate(value)), hint: 'growth that is judged real; in a range, net change per second' },
  {
    id: 'allocations', label: 'Allocations', value: (row) => row.allocations, format: count,
    note: (row) => row.temporary > 0 && `${percent(row.temporary, row.allocations)} temporary`,
    hint: 'temporary: freed before its thread allocated or freed anything else',
  },
  { id: 'allocated', label: 'Allocated', value: (row) => row.allocated, format: bytes },
  { id: 'oldest', label: 'Oldest', value: (row) => row.oldest, format: (value) => (value == null ? '' : duration(value)) },
  { id: 'spark', label: 'Over time' },
];

const table = { by: 'site', words: '', verdict: '', sort: 'rank', descending: true, rows: [], shown: [] };

// A row of sites; its figures are worked out when they are asked for, which is not at all for most rows
// of a long table.
class Row {
  constructor(sites) {
    this.sites = sites;
    [this.first] = sites;
    this.rank = this.first;
    this.known = {};
  }
  of(name, find) {
    return (this.known[name] ??= { value: find() }).value;
  }
  sum(name, of) {
    return this.of(name, () => this.sites.reduce((total, site) => total + (of(site) ?? 0), 0));
  }
  get verdict() {
    return this.of('verdict', () => VERDICTS[Math.min(...this.sites.map((site) => VERDICTS.indexOf(field('verdict', site))))]);
  }
  get live() { return this.sum('live', liveIn); }
  get growth() { return this.sum('growth', growthIn); }
  get allocations() { return this.sum('allocations', allocationsIn); }
  get allocated() { return this.sum('allocated', allocatedIn); }
  get peak() { return range ? 0 : this.sum('peak', (site) => field('peak_live_bytes', site)); }
  get lost() { return range ? 0 : this.sum('lost', lostIn); }
  get temporary() { return this.sum('temporary', temporaryIn); }
  get rate() {
    return this.of('rate', () => {
      const known = this.sites.map(rateIn).filter((value) => value != null);
      return known.length > 0 ? known.reduce((a, b) => a + b) : null;
    });
  }
  get oldest() {
    return this.of('oldest', () => {
      const ages = this.sites.map((site) => field('oldest_s', site)).filter((age) => age != null);
      return ages.length > 0 ? Math.max(...ages) : null;
    });
  }
}

// One site alone: it has a place, and may be a mapping.
class SiteRow extends Row {
  get frame() { return this.of('frame', () => blamed(this.first)); }
  get name() { return this.frame ? frameName(this.frame) : '(no stack)'; }
  get short() { return shortName(this.first); }
  get place() { return this.frame?.function != null ? shortPlace(this.frame) : ''; }
  get mapped() { return field('kind', this.first) === 'mmap'; }
}

function buildRows() {
  const grouping = GROUPINGS[table.by];
  if (table.by === 'site') {
    table.rows = Array.from({ length: SITE_COUNT }, (_, site) => new SiteRow([site]));
    return;
  }
  const groups = new Map();
  for (let site = 0; site < SITE_COUNT; site++) {
    for (const key of grouping.all ? grouping.all(site) : [grouping.of(site)]) {
      if (groups.has(key)) groups.get(key).push(site);
      else groups.set(key, [site]);
    }
  }
  table.rows = [...groups].map(([key, sites]) => Object.assign(new Row(sites), {
    name: key, short: table.by === 'inclusive' ? shortFunction(key) : undefined, place: plural(sites.length, 'call stack'),
  }));
}

// What a filter looks at: the row's name, and of a single site every function of its stack.
const siteText = [];
function searchText(row) {
  if (row.text !== undefined) return row.text;
  const textOf = (site) => (siteText[site] ??= (() => {
    const of = blamed(site);
    const stack = frameIndices(site).map((index) => labels[labelOf(index)].name);
    return [of?.file && place(of), of?.module, field('id', site), field('growth.pattern', site), ...(field('threads', site) ?? []), ...stack].join(' ').toLowerCase();
  })());
  const own = row.name.toLowerCase();
  return (row.text = table.by === 'inclusive' ? own : `${own} ${row.sites.map(textOf).join(' ')}`);
}

function choose() {
  const words = table.words.toLowerCase().split(/\s+/).filter(Boolean);
  table.shown = table.rows.filter((row) =>
    (table.verdict === '' || row.verdict === table.verdict)
    && words.every((word) => searchText(row).includes(word)));
  const column = COLUMNS.find((one) => one.id === table.sort);
  const value = column?.value ?? ((row) => -row.rank);
  const sign = table.descending ? -1 : 1;
  const compare = (a, b) => {
    const [left, right] = [value(a), value(b)];
    if (left == null || right == null) return (left == null) - (right == null);
    const order = typeof left === 'string' ? left.localeCompare(right) : left - right;
    return sign * order || a.rank - b.rank;
  };
  table.shown.sort(compare);
}

const ROW_HEIGHT = 46;

function tableSection() {
  const body = h('tbody', { id: 'site-rows' });
  const view = h('div', { class: 'table-view', tabindex: 0, role: 'region', 'aria-label': 'Call sites' });
  const says = h('output', { id: 'table-says', 'aria-live': 'polite' });
  const headings = COLUMNS.map((column) => h('th', { scope: 'col', class: column.format ? 'number' : `col-${column.id}`, title: column.hint },
    column.value ? h('button', { type: 'button', 'data-sort': column.id, on: { click: () => sortBy(column) } }, column.label) : column.label));
  const grid = h('table', { class: 'sites' }, h('caption', { class: 'hidden' }, 'Call sites with their figures'),
    h('thead', null, h('tr', null, headings)), body);
  view.append(grid);

  const tableRow = (row, at) => {
    const open = () => {
      if (row.sites.length === 1) showSite(row.first);
      else {
        by.value = table.by = 'site';
        filter.value = table.words = row.name;
        refresh();
      }
    };
    const cell = (column) => {
      if (column.id === 'verdict') return h('td', null, verdictBadge(row.verdict), findingLink(row.sites));
      if (column.id === 'name') {
        return h('th', { scope: 'row' },
          h('button', { type: 'button', class: 'link', title: row.name, on: { click: open } }, row.short ?? row.name),
          h('span', { class: 'place' }, row.mapped ? 'mapping · ' : '', row.place));
      }
      if (column.id === 'spark') {
        const points = row.sites.length === 1 ? livePoints(row.first)
          : row.sites.slice(0, 200).map(livePoints).reduce((sum, one) => sum.map(([t, value], index) => [t, value + one[index][1]]));
        return h('td', null, sparkline(points, { width: 90, height: 24, marks: range && rangeSeconds() }));
      }
      const note = column.note?.(row);
      return h('td', { class: 'number' }, column.format(column.value(row)), note && h('small', { class: 'under' }, note));
    };
    return h('tr', { 'aria-rowindex': at + 2 }, COLUMNS.map(cell));
  };
  const spacer = (height) => h('tr', { class: 'spacer', 'aria-hidden': 'true' }, h('td', { colspan: COLUMNS.length, style: { height: `${height}px` } }));
  let drawn = null;
  function draw(all) {
    const total = table.shown.length;
    const first = all ? 0 : Math.max(0, Math.floor(view.scrollTop / ROW_HEIGHT) - 6);
    const last = all ? Math.min(total, 60) : Math.min(total, first + Math.ceil(innerHeight / ROW_HEIGHT) + 8);
    if (drawn && drawn[0] === first && drawn[1] === last) return;
    drawn = [first, last];
    const rows = table.shown.slice(first, last).map((row, at) => tableRow(row, first + at));
    body.replaceChildren(spacer(first * ROW_HEIGHT), ...rows, all && last < total
      ? h('tr', null, h('td', { colspan: COLUMNS.length }, `and ${count(total - last)} more`)) : spacer((total - last) * ROW_HEIGHT));
    grid.setAttribute('aria-rowcount', total + 1);
  }
  function refresh() {
    buildRows();
    update();
  }
  function update() {
    choose();
    headings.forEach((heading, at) => {
      const isSorted = COLUMNS[at].id === table.sort;
      if (isSorted) heading.setAttribute('aria-sort', table.descending ? 'descending' : 'ascending');
      else heading.removeAttribute('aria-sort');
    });
    const what = table.by === 'site' ? 'site' : GROUPINGS[table.by].label;
    const live = table.shown.reduce((sum, row) => sum + row.live, 0);
    // Functions that call one another hold the same bytes: their sum would say nothing.
    const sum = table.by === 'inclusive' ? '' : ` · ${bytes(live)} live`;
    says.textContent = `${count(table.shown.length)} of ${plural(table.rows.length, table.by === 'inclusive' ? 'function' : what)}${sum}`;
    view.scrollTop = 0;
    drawn = null;
    draw(false);
  }
  function sortBy(column) {
    table.descending = table.sort === column.id ? !table.descending : !column.ascending;
    table.sort = column.id;
    update();
  }
  view.addEventListener('scroll', () => draw(false), { passive: true });
  const filter = h('input', { type: 'search', id: 'table-filter', placeholder: 'function, file, module, thread, id', on: { input() { table.words = filter.value; update(); } } });
  const by = h('select', { id: 'table-by', on: { change() { table.by = by.value; refresh(); } } },
    Object.entries(GROUPINGS).map(([name, { label }]) => h('option', { value: name }, label)));
  const counts = DATA.answer.counts;
  const verdict = h('select', { id: 'table-verdict', on: { change() { table.verdict = verdict.value; update(); } } },
    h('option', { value: '' }, 'all verdicts'),
    VERDICTS.filter((name) => counts[name]).map((name) => h('option', { value: name }, name)));
  onRange(() => { refresh(); });
  addEventListener('beforeprint', () => { drawn = null; draw(true); });
  addEventListener('afterprint', () => { drawn = null; draw(false); });
  const left = DATA.answer.left_out;
  const element = section('sites', 'All call sites',
    h('div', { class: 'controls' },
      h('label', null, 'Filter ', filter), h('label', null, 'Verdict ', verdict), h('label', null, 'One row per ', by), says),
    view,
    left > 0 && missing(`${plural(left, 'more site')} with ${bytes(DATA.answer.left_out_bytes)} live ${left === 1 ? 'is' : 'are'} not in this page: --top 0 puts all in.`),
    DATA.answer.not_listed && missing(DATA.answer.not_listed));
  element.start = refresh;
  return element;
}
