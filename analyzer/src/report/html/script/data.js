// The document, unpacked as it is asked for. Knows how it is packed; computes nothing.

const DATA = JSON.parse(byId('data').textContent);
const REPORT = DATA.report;

// Values of a packed column by row; null where the document has none.
function accessor(columns, path) {
  const column = columns[path];
  if (column === undefined) return () => null;
  if (Array.isArray(column)) return (row) => column[row] ?? null;
  if ('as' in column) return accessor(columns, column.as);
  if ('of' in column) return (row) => column.of[column.at[row]] ?? null;
  return () => column.is;
}

const SITE_COUNT = DATA.leaf.length;
const siteColumns = new Map();

// A field of a site by its path in the document.
function field(path, site) {
  let column = siteColumns.get(path);
  if (!column) siteColumns.set(path, (column = accessor(DATA.sites, path)));
  return column(site);
}

// True if any site has a value there.
function isMeasured(path) {
  const column = DATA.sites[path];
  if (column === undefined) return false;
  return Array.isArray(column) || 'of' in column || 'as' in column || column.is != null;
}

function estimate(path, site) {
  const value = field(`${path}.value`, site);
  return value == null ? null
    : { value, low: field(`${path}.low`, site), high: field(`${path}.high`, site) };
}

// The family over time.
const momentCount = (() => {
  const column = DATA.timeline.t_s;
  if (Array.isArray(column)) return column.length;
  return column?.at?.length ?? (column ? 1 : 0);
})();
function overTime(path) {
  const column = accessor(DATA.timeline, path);
  return Array.from({ length: momentCount }, (_, at) => column(at));
}
const TIMES = overTime('t_s');

const DIGIT = new Uint8Array(128);
[...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'].forEach((digit, value) => {
  DIGIT[digit.charCodeAt(0)] = value;
});

// Numbers in base-64 VLQ, as source maps write them.
function numbers(packed) {
  const found = [];
  let [number, scale] = [0, 1];
  for (let position = 0; position < packed.length; position++) {
    const digit = DIGIT[packed.charCodeAt(position)];
    number += (digit & 31) * scale;
    if (digit & 32) {
      scale *= 32;
    } else {
      found.push(number);
      number = 0;
      scale = 1;
    }
  }
  return found;
}

// 0, 1, 2, 3, ... back to 0, -1, 1, -2, ...
function signed(number) {
  return number % 2 === 1 ? -(number + 1) / 2 : number / 2;
}

const STRINGS = DATA.stacks.strings;
const text = (oneMore) => (oneMore === 0 ? null : STRINGS[oneMore - 1]);

// Per frame seven numbers: function, file, line, module, build-id, offset, flags.
const FRAMES = numbers(DATA.stacks.frames);
for (let at = 0; at < FRAMES.length; at++) FRAMES[at] = signed(FRAMES[at]) + (at < 7 ? 0 : FRAMES[at - 7]);
// Per node its parent and its frame; nodes count from 1.
const [PARENT, NODE_FRAME] = (() => {
  const packed = numbers(DATA.stacks.nodes);
  const count = packed.length / 2;
  const [parent, of] = [new Int32Array(count + 1), new Int32Array(count + 1)];
  let last = 0;
  for (let at = 1; at <= count; at++) {
    parent[at] = at - packed[at * 2 - 2];
    last += signed(packed[at * 2 - 1]);
    of[at] = last;
  }
  return [parent, of];
})();

// A frame: function, file, line, module, and whether it is inlined or plumbing.
function frame(index) {
  const [name, file, line, module, buildId, offset, flags] = FRAMES.slice(index * 7, index * 7 + 7);
  return {
    function: text(name), file: text(file), line: line === 0 ? null : line - 1, module: text(module),
    buildId: text(buildId), offset, inlined: (flags & 1) !== 0, plumbing: (flags & 2) !== 0,
  };
}

// Indices of a site's frames, innermost first.
function frameIndices(site) {
  const found = [];
  for (let node = DATA.leaf[site]; node > 0; node = PARENT[node]) found.push(NODE_FRAME[node]);
  return found;
}

function frames(site) {
  return frameIndices(site).map(frame);
}

// The frame to look at.
function blamed(site) {
  const at = field('blame', site);
  if (at == null) return null;
  let node = DATA.leaf[site];
  for (let step = 0; step < at && node > 0; step++) node = PARENT[node];
  return node > 0 ? frame(NODE_FRAME[node]) : null;
}

function hex(offset) {
  return `0x${offset.toString(16)}`;
}

// `file:line`, else the module, else the address.
function place(of) {
  if (of.file != null) return of.line == null ? of.file : `${of.file}:${of.line}`;
  if (of.module == null) return `[jit] ${hex(of.offset)}`;
  return of.function != null ? fileName(of.module) : `${fileName(of.module)}+${hex(of.offset)}`;
}

function frameName(of) {
  return of.function ?? place(of);
}

// Curves: the moments at which a value changed, and the values.
const CURVE_TIMES = DATA.curves.times;
function unpack(packed) {
  const pairs = numbers(packed);
  const at = [];
  const values = [];
  let [index, now] = [-1, 0];
  for (let position = 0; position < pairs.length; position += 2) {
    index += pairs[position];
    now += signed(pairs[position + 1]);
    at.push(index);
    values.push(now);
  }
  return { at, values };
}

const unpacked = { live: [], allocations: [], allocated: [], temporary: [] };

function curve(channel, site) {
  const known = unpacked[channel];
  return (known[site] ??= unpack(DATA.curves[channel][site]));
}

// The value of a curve at moment `index` of CURVE_TIMES: that of the last change up to there.
function valueAt(channel, site, index) {
  const { at, values } = curve(channel, site);
  let [low, high] = [0, at.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at[middle] <= index) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? 0 : values[low - 1];
}

// Index of the last of ascending `times` that is not after `t`; -1 if all are.
function lastUpTo(times, t) {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= t) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

const SOURCE = new Map(DATA.source.lines.map(([file, line, words]) => [`${file}:${line}`, words]));
const AROUND = new Map(DATA.source.around.map(([file, line, first, words]) => [`${file}:${line}`, { first, words }]));
const STRING_AT = new Map(STRINGS.map((words, at) => [words, at]));

function sourceKey(of) {
  return of.file == null || of.line == null ? null : `${STRING_AT.get(of.file)}:${of.line}`;
}
