// Stacks as a tree of functions whose values add up. Draws nothing.

// What the flame graph can show: label, value of a site, how to write it, why it cannot be shown.
const MEASURES = {
  live: { label: 'Live', format: bytes, of: () => liveIn },
  lost: {
    label: 'Lost', format: bytes, needs: ['lost.definite_bytes'],
    whyNot: 'no reachability scan was made',
    of: () => (site) => (field('lost.definite_bytes', site) ?? 0) + (field('lost.indirect_bytes', site) ?? 0), fixed: true,
  },
  growth: {
    label: 'Growth', format: bytes, of: () => (site) => Math.max(0, growthIn(site)),
    note: 'sites that shrank are left out',
  },
  allocated: { label: 'Allocated bytes', format: bytes, of: () => allocatedIn },
  allocations: { label: 'Allocations', format: count, of: () => allocationsIn },
  temporary: {
    label: 'Temporary', format: count, needs: ['temporary'],
    whyNot: () => (REPORT.totals.temporary == null ? 'temporary blocks were not counted'
      : 'of which call sites was not told'),
    fixed: !TELLS_TEMPORARY, of: TELLS_TEMPORARY ? () => (site) => temporaryIn(site) ?? 0 : undefined,
    note: 'blocks freed before their thread allocated or freed anything else',
  },
  peak: {
    label: 'Peak', format: bytes, of: peakIn,
    note: 'live at the snapshot when most was live',
  },
  faults: {
    label: 'Faults', format: count, needs: ['faults.minor'],
    whyNot: 'page faults were not attributed to call sites',
    of: () => (site) => (field('faults.minor', site) ?? 0) + (field('faults.major', site) ?? 0), fixed: true,
  },
  resident: {
    label: 'Resident', format: bytes, needs: ['resident_bytes'],
    whyNot: 'resident memory was not measured per call site',
    of: () => (site) => field('resident_bytes', site) ?? 0, fixed: true,
  },
};

function whyNot(name) {
  const { needs, whyNot: reason } = MEASURES[name];
  if (!needs || needs.some(isMeasured)) return null;
  return typeof reason === 'function' ? reason() : reason;
}

function valueOf(name) {
  const measure = MEASURES[name];
  if (measure.of) return measure.of();
  const path = measure.needs.find(isMeasured);
  return (site) => field(path, site) ?? 0;
}

// Frames of one function of one module are one box, whatever their line.
const labels = [];
const labelOfFrame = [];
const labelAt = new Map();
function labelOf(index) {
  const known = labelOfFrame[index];
  if (known !== undefined) return known;
  const of = frame(index);
  const name = frameName(of);
  const key = `${name}\n${of.module}`;
  let at = labelAt.get(key);
  if (at === undefined) {
    at = labels.length;
    labels.push({ name, module: of.module, frame: index, plumbing: of.plumbing });
    labelAt.set(key, at);
  }
  return (labelOfFrame[index] = at);
}

// A box for a thread's sites: those that it was the first to allocate at.
function threadLabel(site) {
  const names = field('threads', site) ?? [];
  const name = names.length === 0 ? 'unknown thread' : names.length > 3 ? 'many threads' : names.join(', ');
  let at = labelAt.get(`thread\n${name}`);
  if (at === undefined) {
    at = labels.length;
    labels.push({ name, module: undefined, frame: null, plumbing: false });
    labelAt.set(`thread\n${name}`, at);
  }
  return at;
}

function node(label, parent) {
  return { label, parent, value: 0, own: 0, children: new Map(), depth: parent ? parent.depth + 1 : 0 };
}

// The tree of all sites with a value; `reverse`: from the allocating functions outwards; `threads`: a
// tree for each thread.
function buildTree(measure, { reverse = false, plumbing = true, threads = false } = {}) {
  const value = valueOf(measure);
  const root = node(-1, null);
  for (let site = 0; site < SITE_COUNT; site++) {
    const amount = value(site);
    if (!(amount > 0)) continue;
    const path = frameIndices(site).map(labelOf).filter((label) => plumbing || !labels[label].plumbing);
    if (!reverse) path.reverse();
    if (threads) path.unshift(threadLabel(site));
    root.value += amount;
    let at = root;
    for (const label of path) {
      let next = at.children.get(label);
      if (!next) at.children.set(label, (next = node(label, at)));
      next.value += amount;
      at = next;
    }
    at.own += amount;
  }
  return root;
}

function sortedChildren(of) {
  return (of.sorted ??= [...of.children.values()].sort((a, b) => b.value - a.value));
}

function treeName(of) {
  return of.label < 0 ? 'all call sites' : labels[of.label].name;
}

// Boxes matching a pattern, and their share: a box under a match does not count twice.
function searchTree(root, matches) {
  let [boxes, value] = [0, 0];
  const open = [[root, false]];
  while (open.length > 0) {
    const [at, inside] = open.pop();
    const hit = at.label >= 0 && matches(at.label);
    if (hit) boxes++;
    if (hit && !inside) value += at.value;
    for (const child of at.children.values()) open.push([child, inside || hit]);
  }
  return { boxes, value };
}
