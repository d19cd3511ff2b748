// Numbers for people, written exactly as the text report writes them.

const GROUPED = /\B(?=(\d{3})+(?!\d))/g;

function count(value) {
  return value == null ? '–' : String(Math.round(value)).replace(GROUPED, ',');
}

function plural(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? '' : 's'}`;
}

// As Rust writes it: a tie goes to the even digit.
function fixed(value, digits) {
  const tied = digits === 0 ? value * 2 : value * 4;
  if (digits < 2 && Number.isInteger(tied) && tied % 2 !== 0) {
    const scale = 10 ** digits;
    const down = Math.floor(value * scale);
    return ((down % 2 === 0 ? down : down + 1) / scale).toFixed(digits);
  }
  return value.toFixed(digits);
}

function scaled(bytes) {
  let value = bytes / 1024;
  let unit = 'KiB';
  for (const next of ['MiB', 'GiB', 'TiB', 'PiB', 'EiB']) {
    // 1023.96 would be shown as 1024.0.
    if (value < 1023.95) break;
    value /= 1024;
    unit = next;
  }
  return `${fixed(value, value < 99.95 ? 1 : 0)} ${unit}`;
}

function bytes(value) {
  if (value == null) return '–';
  const sign = value < 0 ? '-' : '';
  const size = Math.abs(value);
  if (size < 9.95 && size % 1 !== 0) return `${sign}${fixed(size, 1)} B`;
  if (size < 1023.5) return `${sign}${fixed(size, 0)} B`;
  return sign + scaled(size);
}

// With a plus sign for growth.
function change(value) {
  if (value == null) return '–';
  return value > 0 ? `+${bytes(value)}` : bytes(value);
}

function rateUnit(perSecond) {
  const rate = Math.abs(perSecond);
  if (rate >= 100 || rate === 0) return [1, 's'];
  if (rate * 60 >= 100) return [60, 'min'];
  if (rate * 3600 >= 100) return [3600, 'h'];
  return [86400, 'day'];
}

function rate(perSecond) {
  if (perSecond == null) return '–';
  const [factor, unit] = rateUnit(perSecond);
  return `${bytes(perSecond * factor)}/${unit}`;
}

function rateBetween(estimate) {
  const [factor, unit] = rateUnit(estimate.value);
  const shown = (value) => bytes(value * factor);
  const value = shown(estimate.value);
  if (estimate.low == null || estimate.high == null) return `${value}/${unit}`;
  const [low, high] = [shown(estimate.low), shown(estimate.high)];
  if (low === value && high === value) return `${value}/${unit}`;
  return `${value}/${unit} (95%: ${low} to ${high})`;
}

function twoUnits(small, perLarge, largeUnit, smallUnit) {
  const large = Math.floor(small / perLarge);
  const rest = small % perLarge;
  return rest === 0
    ? `${count(large)} ${largeUnit}`
    : `${count(large)} ${largeUnit} ${rest} ${smallUnit}`;
}

function duration(seconds) {
  if (seconds == null) return '–';
  const s = Math.max(seconds, 0);
  if (s < 0.9995) return `${fixed(s * 1e3, 0)} ms`;
  if (s < 9.95) return `${fixed(s, 1)} s`;
  if (s < 119.5) return `${fixed(s, 0)} s`;
  if (s < 7140) return `${fixed(s / 60, 0)} min`;
  if (s < 172800) return twoUnits(Math.round(s / 60), 60, 'h', 'min');
  return twoUnits(Math.round(s / 3600), 24, 'd', 'h');
}

function durationBetween(estimate) {
  const value = duration(estimate.value);
  if (estimate.low == null || estimate.high == null) return value;
  const [low, high] = [duration(estimate.low), duration(estimate.high)];
  return low === value && high === value ? value : `${value} (${low} to ${high})`;
}

function percent(part, whole) {
  if (!(whole > 0)) return '–';
  const share = (part / whole) * 100;
  return share > 0 && share < 0.1 ? '<0.1%' : `${share.toFixed(share < 10 ? 1 : 0)}%`;
}

function utc(unixSeconds) {
  return `${new Date(unixSeconds * 1000).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

// The last part of a path.
function fileName(path) {
  return path == null ? '' : path.slice(path.lastIndexOf('/') + 1);
}
