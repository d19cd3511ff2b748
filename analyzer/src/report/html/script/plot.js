// Plots: scales, axes, lines and areas. Knows nothing of what is drawn.

// `width` is that of the box that is drawn into, so that words are as large as elsewhere.
const PLOT = { width: 1120, left: 64, right: 14, top: 10, bottom: 26 };
const LEAST_WIDTH = 280;

// Steps of 1, 2, 5 in binary units for sizes, in decimal ones for counts.
function ticks(highest, isBytes) {
  const unit = isBytes ? 1024 ** Math.floor(Math.log(Math.max(highest, 1)) / Math.log(1024)) : 1;
  const top = highest / unit;
  const power = 10 ** Math.floor(Math.log10(Math.max(top, 1e-9) / 4));
  const step = [1, 2, 5, 10].map((by) => by * power).find((by) => top / by <= 5) ?? power * 10;
  const found = [];
  for (let value = 0; value <= top + step * 0.01; value += step) found.push(value * unit);
  return found;
}

const TIME_STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800,
  3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];

// Steps of which at most so many fit, and the moments.
function timeTicks(from, to, most) {
  const step = TIME_STEPS.find((by) => (to - from) / by <= most) ?? Math.ceil((to - from) / most / 604800) * 604800;
  const found = [];
  for (let at = Math.ceil(from / step - 1e-6); at * step <= to + step * 1e-6; at++) found.push(at * step);
  return { step, times: found };
}

// A moment as finely as the step between two needs it: no two are written alike.
function tickTime(t, step) {
  const digits = (by) => Math.max(0, Math.ceil(-Math.log10(by) - 1e-9));
  if (t === 0) return '0';
  if (step < 1) return t < 0.9995 ? `${Number((t * 1e3).toFixed(3))} ms` : `${t.toFixed(digits(step))} s`;
  const whole = Math.round(t);
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const first = parts.findIndex(([size]) => whole >= size);
  const last = parts.findIndex(([size]) => step % size === 0);
  const words = [];
  let rest = whole;
  parts.forEach(([size, unit], at) => {
    if (at < first || at > last) return;
    const amount = Math.floor(rest / size);
    rest -= amount * size;
    if (amount > 0 || words.length === 0) words.push(`${amount} ${unit}`);
  });
  return words.join(' ');
}

// An empty plot: { element, x(seconds), y(value), body }.
function plot({ height, from, to, highest, format, isBytes, label }) {
  const { width, left, right, top, bottom } = PLOT;
  const span = Math.max(to - from, 1e-9);
  const x = (t) => left + ((t - from) / span) * (width - left - right);
  const most = Math.max(highest, 1) * 1.04;
  const y = (value) => height - bottom - (value / most) * (height - top - bottom);
  const body = svg('g');
  const grid = ticks(most, isBytes).flatMap((value) => [
    svg('line', { class: 'grid', x1: left, x2: width - right, y1: y(value), y2: y(value) }),
    svg('text', { class: 'tick', x: left - 8, y: y(value) + 4, 'text-anchor': 'end' }, format(value)),
  ]);
  const { step, times: moments } = timeTicks(from, to, Math.max(2, Math.floor((width - left - right) / 76)));
  const times = moments.map((t) => {
    // The last one must not stick out.
    const anchor = x(t) > width - 34 ? 'end' : 'middle';
    return svg('text', { class: 'tick time', x: Math.min(x(t), width - 2), y: height - 7, 'text-anchor': anchor }, tickTime(t, step));
  });
  const element = svg('svg', {
    viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label, class: 'plot',
  }, grid, body, times);
  return { element, body, x, y, height };
}

function linePath(points) {
  return points.map(([x, y], at) => `${at === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`).join('');
}

// The area between two lines of like length.
function areaPath(upper, lower) {
  return upper.length === 0 ? '' : `${linePath(upper)}${linePath([...lower].reverse()).replace('M', 'L')}Z`;
}

// A curve in a small box; `from` and `to` mark the chosen range.
function sparkline(points, { width = 120, height = 28, marks = null } = {}) {
  const last = points.length - 1;
  if (last < 1) return h('span', { class: 'missing' }, 'too few snapshots');
  const highest = Math.max(...points.map((point) => point[1]), 1);
  const [first, end] = [points[0][0], points[last][0]];
  const x = (t) => 1 + ((t - first) / Math.max(end - first, 1e-9)) * (width - 2);
  const y = (value) => height - 1.5 - (value / highest) * (height - 3);
  const line = points.map(([t, value]) => [x(t), y(value)]);
  return svg('svg', { class: 'spark', viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true', preserveAspectRatio: 'none' },
    marks && svg('rect', { class: 'chosen', x: x(marks[0]), width: Math.max(x(marks[1]) - x(marks[0]), 1), y: 0, height }),
    svg('path', { class: 'under', d: areaPath(line, line.map(([at]) => [at, height])) }),
    svg('path', { class: 'line', d: linePath(line), 'vector-effect': 'non-scaling-stroke' }));
}

// Points of a site's live bytes.
const livePoints = (site) => pointsOf('live', site);

// Points of a site's curve.
function pointsOf(channel, site) {
  const { at, values } = curve(channel, site);
  const points = [];
  let now = 0;
  let next = 0;
  CURVE_TIMES.forEach((t, index) => {
    if (at[next] === index) now = values[next++];
    points.push([t, now]);
  });
  return points;
}

// Horizontal bars with their label and figure; `second` continues a bar in another colour.
function bars(rows, format) {
  const highest = Math.max(...rows.map(([, value, , second]) => (value ?? 0) + (second ?? 0)), 1);
  const part = (value, name) => h('span', { class: name, style: { width: `${((value ?? 0) / highest) * 100}%` } });
  return h('ol', { class: 'bars' }, rows.map(([label, value, note, second]) =>
    h('li', null, h('span', { class: 'bar-label' }, label),
      h('span', { class: 'bar-track', 'aria-hidden': 'true' },
        part(value, 'bar'), second > 0 && part(second, 'bar second')),
      h('span', { class: 'bar-value' }, format(value), note && h('small', null, ` ${note}`)))));
}
