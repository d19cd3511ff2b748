// Memory over time, and the range brushed on it by pointer or with the two sliders.

// Where resident memory went whenever that was measured: times, and parts as layers; null if it was
// measured less than twice. See `between` for the snapshots in between.
function partsOverTime() {
  const moments = REPORT.memory.over_time ?? [];
  const times = [...new Set(moments.map((moment) => moment.t_s))];
  if (times.length < 2) return null;
  const start = REPORT.processes[0].started_unix_s;
  const end = (process) => process.started_unix_s - start + process.duration_s + 1;
  const sums = new Map();
  const current = new Map();
  let next = 0;
  times.forEach((t, at) => {
    for (; next < moments.length && moments[next].t_s <= t; next++) current.set(moments[next].process, moments[next]);
    for (const [process, moment] of current) {
      if (REPORT.processes[process] && end(REPORT.processes[process]) < t) continue;
      const parts = { ...moment.parts, unexplained: Math.max(0, moment.unexplained_bytes ?? 0) };
      for (const [name, size] of Object.entries(parts)) {
        if (!sums.has(name)) sums.set(name, new Array(times.length).fill(0));
        sums.get(name)[at] += size;
      }
    }
  });
  // Over time a runtime's own heap is among the mappings; at the end it is told apart.
  const heaps = REPORT.memory.parts.map((part) => part.name).filter((name) => /^(V8|JVM|Go) heap$|^CPython arenas$/.test(name));
  const mappings = sums.get("program's mappings");
  if (mappings && heaps.length > 0) {
    sums.delete("program's mappings");
    sums.set(`program's mappings, with ${heaps.join(', ')}`, mappings);
  }
  const order = [...sums].filter(([name]) => name !== 'unexplained')
    .sort((a, b) => Math.max(...b[1]) - Math.max(...a[1])).filter(([, values]) => Math.max(...values) > 0);
  const layers = order.slice(0, 8).map(([name, values], tone) => ({ name, tone, values }));
  const rest = order.slice(8).map(([, values]) => values);
  if (rest.length > 0) {
    layers.push({ name: rest.length === 1 ? order[8][0] : `${count(rest.length)} smaller parts`, tone: 'rest', values: times.map((_, at) => rest.reduce((sum, values) => sum + values[at], 0)) });
  }
  const gap = sums.get('unexplained');
  layers.push({ name: 'unexplained', tone: 'gap', values: gap ?? times.map(() => 0) });
  return between(times, layers);
}

// A curve that is known at some times, drawn straight between them and level before and after.
function straight(times, values) {
  return (t) => {
    const at = lastUpTo(times, t);
    if (at < 0) return values[0];
    if (at + 1 >= times.length) return values[at];
    const share = (t - times[at]) / Math.max(times[at + 1] - times[at], 1e-9);
    return values[at] + (values[at + 1] - values[at]) * share;
  };
}

// The layers at every snapshot. Between two accounts resident memory and live blocks are known: they are drawn as
// they were. The other parts are not: they are drawn straight, and made smaller where there was no room for them;
// what resident memory has beyond all that is told as what was not measured.
function between(accounts, layers) {
  const rss = overTime('rss_bytes');
  const live = liveOverTime;
  const deviation = (values) => {
    const at = straight(accounts, accounts.map((t) => values[Math.max(0, lastUpTo(TIMES, t))] ?? 0));
    return TIMES.map((t, index) => (values[index] ?? 0) - at(t));
  };
  const [ofRss, ofLive] = [deviation(rss), deviation(live)];
  const known = new Set(accounts.map((t) => lastUpTo(TIMES, t)));
  const whole = straight(accounts, accounts.map((_, at) => layers.reduce((sum, layer) => sum + layer.values[at], 0)));
  const drawn = layers.map((layer) => ({ ...layer, at: straight(accounts, layer.values), values: [] }));
  const isFixed = (layer) => layer.name === 'live blocks';
  TIMES.forEach((t, index) => {
    const all = Math.max(0, whole(t) + ofRss[index]);
    // What was freed and is still resident is the allocator's, and what it has free becomes live first.
    const taken = Math.max(0, ofLive[index] - ofRss[index]);
    const parts = drawn.map((layer) => {
      const amount = layer.at(t);
      if (isFixed(layer)) return Math.min(all, Math.max(0, amount + ofLive[index]));
      return layer.name === "allocator's free memory" ? Math.max(0, amount - taken) : amount;
    });
    const fixed = parts.reduce((sum, amount, at) => sum + (isFixed(drawn[at]) ? amount : 0), 0);
    const others = parts.reduce((sum, amount) => sum + amount, 0) - fixed;
    const scale = others > 0 ? Math.min(1, (all - fixed) / others) : 1;
    drawn.forEach((layer, at) => layer.values.push(isFixed(layer) ? parts[at] : parts[at] * scale));
    drawn.at(-1).values[index] += Math.max(0, all - fixed - others * scale);
  });
  const gap = drawn.at(-1);
  if (known.size < TIMES.length) gap.name = 'unexplained, or not measured';
  return {
    times: TIMES, accounts,
    layers: drawn.filter((layer) => layer !== gap || layer.values.some((size) => size > 0)),
  };
}

// The sites with the most live bytes at their highest, each as a layer; the others as one.
function siteLayers(limit) {
  const order = Array.from({ length: SITE_COUNT }, (_, site) => site)
    .sort((a, b) => (field('peak_live_bytes', b) ?? 0) - (field('peak_live_bytes', a) ?? 0));
  const shown = order.filter((site) => (field('peak_live_bytes', site) ?? 0) > 0).slice(0, limit);
  const layers = shown.map((site, at) => ({
    name: shortName(site), tone: at, values: livePoints(site).map((point) => point[1]),
  }));
  const rest = order.slice(shown.length);
  if (rest.length > 0) {
    const sum = new Array(CURVE_TIMES.length).fill(0);
    for (const site of rest) livePoints(site).forEach(([, value], at) => { sum[at] += value; });
    layers.push({ name: `${count(rest.length)} other sites`, tone: 'rest', values: sum });
  }
  return layers;
}

// What all listed sites together did between one moment and the next, per second.
function perSecond(channel) {
  const { at, values } = unpack(DATA.curves[channel]);
  const total = new Array(CURVE_TIMES.length).fill(0);
  at.forEach((index, change) => total.fill(values[change], index));
  return total.slice(1).map((value, index) =>
    (value - total[index]) / Math.max(CURVE_TIMES[index + 1] - CURVE_TIMES[index], 1e-9));
}

// What is counted over time, per second.
function perSecondOf(path) {
  const total = overTime(path);
  return total.slice(1).map((value, at) =>
    Math.max(0, value - total[at]) / Math.max(TIMES[at + 1] - TIMES[at], 1e-9));
}

const CHARTS = {
  resident: {
    label: 'Resident memory', unit: bytes, isBytes: true, times: () => TIMES,
    layers: partsOverTime,
    lines: () => [
      { name: areSeveral() ? 'resident (RSS, added up)' : 'resident (RSS)', className: 'rss', values: overTime('rss_bytes') },
      { name: 'live heap (requested bytes)', className: 'live', values: liveOverTime, onlyAlone: true },
      { name: 'swapped out', className: 'swap', values: overTime('swap_bytes'), onlyIfAny: true },
      { name: 'limit', className: 'limit', values: overTime('limit_bytes'), onlyIfAny: true },
    ],
  },
  sites: {
    label: 'Live memory by call site', unit: bytes, isBytes: true, times: () => CURVE_TIMES,
    layers: () => ({ times: CURVE_TIMES, layers: siteLayers(8) }), lines: () => [],
  },
  allocations: {
    label: 'Allocations per second', unit: count, times: () => CURVE_TIMES.slice(1), layers: () => null,
    lines: () => [{ name: 'allocations at listed sites', className: 'live', values: perSecond('all_allocations') }],
  },
  allocated: {
    label: 'Allocated per second', unit: bytes, isBytes: true, times: () => CURVE_TIMES.slice(1), layers: () => null,
    lines: () => [{ name: 'bytes at listed sites', className: 'live', values: perSecond('all_allocated') }],
  },
  blocks: {
    label: 'Live blocks', unit: count, times: () => TIMES, layers: () => null,
    lines: () => [{ name: 'live blocks', className: 'live', values: overTime('live_blocks') }],
  },
  temporary: {
    label: 'Temporary allocations per second', unit: count, times: () => TIMES.slice(1), layers: () => null,
    whyNot: () => (REPORT.totals.temporary == null ? 'temporary blocks were not counted' : null),
    lines: () => [{ name: 'freed before their thread allocated or freed anything else', className: 'live', values: perSecondOf('temporary') }],
  },
  faults: {
    label: 'Page faults per second', unit: count, times: () => TIMES.slice(1), layers: () => null,
    lines: () => ['minor', 'major'].map((kind) => ({
      name: kind, className: kind === 'minor' ? 'live' : 'limit', values: perSecondOf(`${kind}_faults`),
    })),
  },
  threads: {
    label: 'Threads', unit: count, times: () => TIMES, layers: () => null,
    lines: () => [{ name: 'threads', className: 'live', values: overTime('threads') }],
  },
};

function drawChart(chart, legend) {
  const times = chart.times();
  const { times: layerTimes, layers, accounts = [] } = chart.layers() ?? { times: [], layers: [] };
  const lines = chart.lines().filter((line) =>
    (!line.onlyIfAny || line.values.some((value) => value > 0)) && !(line.onlyAlone && layers.length > 0));
  const sums = layerTimes.map((_, at) => layers.reduce((sum, layer) => sum + layer.values[at], 0));
  const limitless = lines.filter((line) => line.className !== 'limit' || !chart.isBytes);
  const highest = Math.max(0, ...sums, ...limitless.flatMap((line) => line.values.map((value) => value ?? 0)));
  const drawing = plot({
    height: 300, from: times[0], to: times.at(-1), highest, format: chart.unit, isBytes: chart.isBytes,
    label: `${chart.label} over time; the figures are in the table below and in the key figures`,
  });
  const { body, x, y } = drawing;
  let under = layerTimes.map(() => 0);
  for (const layer of layers) {
    const upper = under.map((value, at) => value + layer.values[at]);
    const points = (values) => values.map((value, at) => [x(layerTimes[at]), y(value)]);
    body.append(svg('path', { class: `layer tone-${layer.tone}`, d: areaPath(points(upper), points(under)) },
      svg('title', null, layer.name)));
    under = upper;
  }
  for (const line of lines) {
    const points = line.values
      .map((value, at) => [times[at], value])
      .filter(([, value]) => value != null && value <= highest * 1.04)
      .map(([t, value]) => [x(t), y(value)]);
    if (points.length === 0) continue;
    if (line.className === 'rss' && layers.length === 0) {
      body.append(svg('path', { class: 'under rss', d: areaPath(points, points.map(([at]) => [at, y(0)])) }));
    }
    body.append(svg('path', { class: `line ${line.className}`, d: linePath(points) }));
  }
  for (const t of accounts) {
    const [at, foot] = [x(t), y(0)];
    body.append(svg('path', { class: 'measured', d: `M${at.toFixed(1)} ${foot - 7}l4 7h-8Z` },
      svg('title', null, `measured part by part after ${duration(t)}`)));
  }
  for (const event of REPORT.events) {
    if (event.t_s < times[0] || event.t_s > times.at(-1)) continue;
    const at = x(event.t_s);
    body.append(svg('line', { class: `event ${event.type}`, x1: at, x2: at, y1: PLOT.top, y2: y(0) },
      svg('title', null, `${event.type} after ${duration(event.t_s)}: ${event.text}`)));
  }
  const entries = [...lines.map((line) => [line.name, `swatch ${line.className}`, line.values, times]),
    ...layers.map((layer) => [layer.name, `swatch tone-${layer.tone}`, layer.values, layerTimes])];
  // What happened where the pointer is: the lines are too thin to be pointed at.
  const happened = (t) => REPORT.events.filter((event) => Math.abs(x(event.t_s) - x(t)) <= 5).slice(0, 4);
  const show = (t, pointed = false) => {
    const at = Math.max(0, lastUpTo(times, t));
    legend.replaceChildren(
      h('li', { class: 'moment' }, `after ${duration(times[at])}`),
      ...entries.map(([name, className, values, of]) =>
        h('li', null, h('span', { class: className, 'aria-hidden': 'true' }), `${name} `,
          h('b', null, chart.unit(values[Math.max(0, lastUpTo(of, t))])))),
      accounts.length > 0 && h('li', null, h('span', { class: 'measured-sign', 'aria-hidden': 'true' }, '▲ '), 'measured part by part'),
      ...(pointed ? happened(t) : []).map((event) =>
        h('li', { class: 'happened' }, `${event.type} after ${duration(event.t_s)}: ${event.text}`)));
  };
  show(times.at(-1));
  return { ...drawing, show, times };
}

// The band over the chosen range, and how to change it.
function brush(drawing) {
  const { element, x, height } = drawing;
  const { left, right, top, bottom, width } = PLOT;
  const shades = [0, 1].map(() => svg('rect', { class: 'shade', y: top, height: height - top - bottom }));
  const cursor = svg('line', { class: 'cursor', x1: -9, x2: -9, y1: top, y2: height - bottom });
  element.append(...shades, cursor);
  const [first, last] = [drawing.times[0], drawing.times.at(-1)];
  const timeAt = (event) => {
    const box = element.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * width;
    return first + ((at - left) / (width - left - right)) * (last - first);
  };
  let start = null;
  element.addEventListener('pointermove', (event) => {
    const t = timeAt(event);
    drawing.show(t, true);
    const at = Math.min(Math.max(x(t), left), width - right);
    cursor.setAttribute('x1', at);
    cursor.setAttribute('x2', at);
    if (start != null) choose(start, t);
  });
  element.addEventListener('pointerdown', (event) => {
    if (event.button !== 0 || LAST < 2) return;
    start = timeAt(event);
    element.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  element.addEventListener('pointerup', (event) => {
    if (start != null && Math.abs(x(timeAt(event)) - x(start)) < 4) setRange(null);
    start = null;
  });
  element.addEventListener('pointerleave', () => drawing.show(last));
  const choose = (a, b) => {
    if (Math.abs(x(a) - x(b)) < 4) return;
    setRange({ from: Math.max(0, lastUpTo(CURVE_TIMES, Math.min(a, b))), to: lastUpTo(CURVE_TIMES, Math.max(a, b)) });
  };
  return () => {
    const [from, to] = rangeSeconds();
    const edges = range ? [[left, x(from)], [x(to), width - right]] : [[left, left], [left, left]];
    edges.forEach(([a, b], at) => {
      shades[at].setAttribute('x', Math.min(a, b));
      shades[at].setAttribute('width', Math.max(b - a, 0));
    });
  };
}

function rangeControls() {
  const slider = (id, label, value) => h('label', null, label,
    h('input', { type: 'range', id, min: 0, max: Math.max(LAST, 1), step: 1, value, disabled: LAST < 2 }));
  const from = slider('range-from', 'From', 0);
  const to = slider('range-to', 'To', Math.max(LAST, 1));
  const [fromInput, toInput] = [from.querySelector('input'), to.querySelector('input')];
  const words = h('output', { id: 'range-words', 'aria-live': 'polite' });
  const reset = h('button', { type: 'button', id: 'range-reset', on: { click: () => setRange(null) } }, 'Whole recording');
  const chosen = () => setRange({ from: Number(fromInput.value), to: Number(toInput.value) });
  fromInput.addEventListener('input', chosen);
  toInput.addEventListener('input', chosen);
  const draw = () => {
    fromInput.value = fromIndex();
    toInput.value = Math.max(toIndex(), 1);
    fromInput.setAttribute('aria-valuetext', duration(rangeSeconds()[0]));
    toInput.setAttribute('aria-valuetext', duration(rangeSeconds()[1]));
    const coarse = DATA.curves.points < CURVE_TIMES.length && SITE_COUNT > DATA.curves.full
      ? ` Curves of all but the first ${DATA.curves.full} sites are kept at ${DATA.curves.points} points; their figures are those of the last point before.` : '';
    words.textContent = LAST < 2 ? 'Too few snapshots to choose a range.'
      : range ? `Showing ${rangeWords()}. Verdicts stay those of the whole recording: --since and --until judge anew.${coarse}`
        : 'Drag over the chart, or use the sliders, to look at a part of the recording.';
    reset.disabled = !range;
    document.body.classList.toggle('ranged', range != null);
  };
  draw();
  onRange(draw);
  return h('div', { class: 'range-holder' }, h('div', { class: 'range' }, from, to, reset, words));
}

function timelineSection() {
  const out = [h('h2', { id: 'timeline-title' }, 'Memory over time')];
  const { memory } = REPORT;
  if (momentCount < 2) {
    out.push(missing(momentCount === 0 ? 'No snapshot was taken, so nothing is known over time.'
      : 'Only one snapshot was taken: there is no curve to draw.'));
  } else {
    const frameBox = h('div', { class: 'chart' });
    const legend = h('ul', { class: 'legend' });
    let mark = () => {};
    let shown = 'resident';
    const draw = (name) => {
      shown = name;
      const drawing = drawChart(CHARTS[name], legend);
      mark = brush(drawing);
      mark();
      frameBox.replaceChildren(drawing.element);
    };
    onRange(() => mark());
    const whyNot = CURVE_TIMES.length < 2 ? 'too few snapshots' : null;
    const options = Object.entries(CHARTS).map(([name, chart]) => [name, chart.label, chart.whyNot?.() ?? (['allocations', 'allocated', 'sites'].includes(name) ? whyNot : null)]);
    out.push(choice('What to draw', options, 'resident', draw), legend, frameBox, rangeControls());
    draw('resident');
    new ResizeObserver(() => {
      const width = Math.max(LEAST_WIDTH, Math.round(frameBox.clientWidth));
      if (width === PLOT.width || frameBox.clientWidth === 0) return;
      PLOT.width = width;
      draw(shown);
    }).observe(frameBox);
  }
  out.push(...account(memory));
  return h('section', { id: 'timeline', 'aria-labelledby': 'timeline-title' }, out);
}

// Where resident memory is at the end.
function account(memory) {
  const rows = memory.parts.map((part) => [part.name, bytes(part.bytes), part.measured_by]);
  if (memory.unexplained_bytes != null) rows.push(['unexplained', bytes(memory.unexplained_bytes), 'the whole less all parts']);
  // A family's parts are shares: what several processes have in common counts once.
  const shared = memory.parts_of === 'pss';
  if (shared) rows.push(['all, shared pages once (PSS)', bytes(memory.pss_bytes), 'the kernel: shared pages divided by their users; the parts add up to this']);
  if (memory.rss_bytes != null) {
    rows.push(shared ? ['added up (RSS)', bytes(memory.rss_bytes), 'the kernel: shared pages count in each process that has them']
      : ['resident (RSS)', bytes(memory.rss_bytes), 'the kernel']);
  }
  if (memory.kernel_peak_rss_bytes != null) rows.push(['peak of RSS', bytes(memory.kernel_peak_rss_bytes), 'the kernel, at any time']);
  else if (memory.peak_rss_bytes != null) rows.push(['peak of RSS', bytes(memory.peak_rss_bytes), 'the highest snapshot']);
  if (memory.huge_page_bytes > 0) rows.push(['of it in huge pages', bytes(memory.huge_page_bytes), 'the kernel']);
  if (memory.pss_bytes != null && !shared) rows.push(['proportional share (PSS)', bytes(memory.pss_bytes), 'the kernel: shared pages divided by their users']);
  if (memory.swap_bytes > 0) rows.push(['swapped out', bytes(memory.swap_bytes), 'the kernel']);
  if (memory.untouched_bytes >= 4096) rows.push(['of live blocks never touched', bytes(memory.untouched_bytes), 'not resident: it costs nothing yet']);
  for (const of of memory.nodes ?? []) {
    rows.push([`NUMA node ${of.node}`, of.resident_bytes == null ? 'not known' : bytes(of.resident_bytes), `${plural(of.threads, 'thread')} ran there last; ${bytes(of.host_free_bytes)} of ${bytes(of.host_bytes)} free`]);
  }
  if (memory.limit_bytes != null) rows.push(['limit', bytes(memory.limit_bytes), memory.limit_kind]);
  if (rows.length === 0) return [];
  const moments = new Set((memory.over_time ?? []).map((moment) => moment.t_s)).size;
  const measured = memory.measured_at_s == null ? null
    : `Measured part by part ${duration(memory.measured_at_s)} after the start.${moments > 1
      ? ` That was done ${count(moments)} times (▲). Between them the chart shows resident memory and live blocks as each snapshot saw them; the other parts are not known there and drawn straight.` : ''}${
      memory.latest_rss_at_s - memory.measured_at_s >= 3
        ? ` The last is ${duration(memory.latest_rss_at_s - memory.measured_at_s)} before the last snapshot, when ${bytes(memory.latest_rss_bytes)} were resident.` : ''}`;
  return [
    h('h3', null, 'Where it is'),
    memory.verdict && h('p', null, memory.verdict),
    measured && h('p', { class: 'muted' }, measured),
    h('div', { class: 'scroll' }, h('table', { class: 'small account' },
      h('caption', { class: 'hidden' }, 'Parts of resident memory'),
      h('thead', null, h('tr', null, ['Part', 'Size', 'Measured by'].map((name, at) =>
        h('th', { scope: 'col', class: at === 1 ? 'number' : null }, name)))),
      h('tbody', null, rows.map(([name, size, by]) => h('tr', null,
        h('th', { scope: 'row' }, name), h('td', { class: 'number' }, size), h('td', { class: 'muted' }, by ?? '')))))),
    memory.unexplained_bytes == null && missing('Not every part of resident memory was measured, so what is left over is not known.'),
  ];
}
