// The chosen range of time, and what each site did in it. Everything that can be recomputed for a
// range asks here; verdicts cannot: they are of the whole recording.

const LAST = CURVE_TIMES.length - 1;
// Moments of CURVE_TIMES; null: the whole recording.
let range = null;
const rangeListeners = [];

function onRange(listener) {
  rangeListeners.push(listener);
}

function setRange(next) {
  const isWhole = next == null || (next.from <= 0 && next.to >= LAST);
  const clamped = isWhole ? null
    : { from: Math.max(0, Math.min(next.from, LAST - 1)), to: Math.min(LAST, Math.max(next.to, 1)) };
  if (clamped && clamped.from >= clamped.to) clamped.to = clamped.from + 1;
  if (clamped?.from === range?.from && clamped?.to === range?.to) return;
  range = clamped;
  for (const listener of rangeListeners) listener();
}

function fromIndex() {
  return range ? range.from : 0;
}
function toIndex() {
  return range ? range.to : LAST;
}
function rangeSeconds() {
  return LAST < 0 ? [0, 0] : [CURVE_TIMES[fromIndex()], CURVE_TIMES[toIndex()]];
}

function rangeWords() {
  const [from, to] = rangeSeconds();
  return range ? `${duration(from)} to ${duration(to)} after the start` : 'whole recording';
}

function liveIn(site) {
  return range ? valueAt('live', site, range.to) : field('live_bytes.value', site);
}
// On balance from the first snapshot of the range to its last.
function growthIn(site) {
  return LAST < 1 ? 0 : valueAt('live', site, toIndex()) - valueAt('live', site, fromIndex());
}
function allocationsIn(site) {
  return range
    ? valueAt('allocations', site, range.to) - valueAt('allocations', site, range.from)
    : field('allocations', site);
}
function allocatedIn(site) {
  return range
    ? valueAt('allocated', site, range.to) - valueAt('allocated', site, range.from)
    : field('allocated_bytes', site);
}
// Old recordings tell temporary blocks of call sites for the whole recording alone.
const TELLS_TEMPORARY = DATA.curves.temporary != null;
function temporaryIn(site) {
  if (!range) return field('temporary', site);
  return TELLS_TEMPORARY ? valueAt('temporary', site, range.to) - valueAt('temporary', site, range.from) : null;
}
// Net growth per second of the range; the verdict's own rate for the whole recording.
function rateIn(site) {
  if (!range) return field('growth.rate.value', site);
  const [from, to] = rangeSeconds();
  return to > from ? growthIn(site) / (to - from) : null;
}

// The moment of the range at which most was live.
const liveOverTime = overTime('live_bytes');
function peakIndex() {
  const [from, to] = range ? rangeSeconds() : [-Infinity, Infinity];
  let best = -1;
  TIMES.forEach((t, at) => {
    if (t >= from && t <= to && (best < 0 || liveOverTime[at] > liveOverTime[best])) best = at;
  });
  return best < 0 ? LAST : lastUpTo(CURVE_TIMES, TIMES[best]);
}
function peakIn() {
  const index = Math.max(0, peakIndex());
  return (site) => valueAt('live', site, index);
}
