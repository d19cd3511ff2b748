// The rest: sizes, lifetimes, faults, fragmentation, threads, processes, events, what is missing.

// Allocations by size, and at which site most of each were.
function exactSizes() {
  const classes = new Map();
  let [total, unknown] = [0, 0];
  for (let site = 0; site < SITE_COUNT; site++) {
    if (field('kind', site) !== 'heap') continue;
    const sizes = field('sizes', site);
    if (sizes == null) {
      unknown += field('allocations', site);
      continue;
    }
    for (const [upTo, made] of sizes) {
      const size = upTo ?? Infinity;
      const entry = classes.get(size) ?? { made: 0, most: 0, at: site };
      entry.made += made;
      if (made > entry.most) [entry.most, entry.at] = [made, site];
      classes.set(size, entry);
      total += made;
    }
  }
  const rows = [...classes].sort((a, b) => a[0] - b[0]).map(([size, { made, most, at }]) =>
    [[size === Infinity ? 'larger' : `up to ${bytes(size)}`,
      h('small', { class: 'under', title: shortName(at) }, `${percent(most, made)} of it at ${shortName(at)}`)],
    made, percent(made, total)]);
  return [h('p', { class: 'muted' }, 'Each allocation of the whole recording, by the size asked for.'),
    rows.length > 0 ? bars(rows, count) : missing('Nothing was allocated at the listed sites.'),
    unknown > 0 && missing(`The sizes of ${count(unknown)} more allocations are not known.`)];
}

// Allocations by the function that was called for them.
function callsSection() {
  let known = 0;
  for (let site = 0; site < SITE_COUNT; site++) known += (field('calls', site) ?? []).length;
  if (known === 0) return null;
  const content = h('div', { class: 'stack' });
  const draw = () => {
    const sums = new Map();
    for (let site = 0; site < SITE_COUNT; site++) {
      const name = GROUPINGS.calls.of(site);
      sums.set(name, (sums.get(name) ?? 0) + allocationsIn(site));
    }
    const rows = [...sums].filter(([, made]) => made > 0).sort((a, b) => b[1] - a[1]);
    content.replaceChildren(h('h3', null, 'Functions called'), bars(rows, count));
  };
  draw();
  onRange(draw);
  return content;
}

// Allocations by size class; in a range a site counts with the mean size of its blocks.
function sizesSection() {
  const content = h('div', { class: 'stack' });
  const draw = () => {
    if (!range && isMeasured('sizes')) {
      content.replaceChildren(...exactSizes().filter(Boolean));
      return;
    }
    const classes = new Map();
    let total = 0;
    for (let site = 0; site < SITE_COUNT; site++) {
      const [made, size] = [allocationsIn(site), allocatedIn(site)];
      if (!(made > 0) || field('kind', site) !== 'heap') continue;
      const power = Math.max(3, Math.ceil(Math.log2(Math.max(size / made, 1))));
      const entry = classes.get(power) ?? [0, 0];
      entry[0] += made;
      entry[1] += size;
      classes.set(power, entry);
      total += made;
    }
    const powers = [...classes.keys()].sort((a, b) => a - b);
    const rows = powers.map((power) => [`up to ${bytes(2 ** power)}`, classes.get(power)[0], `${percent(classes.get(power)[0], total)}, ${bytes(classes.get(power)[1])}`]);
    content.replaceChildren(h('p', { class: 'muted' }, 'Each call site counts with the mean size of its blocks.'),
      rows.length > 0 ? bars(rows, count) : missing('Nothing was allocated at the listed sites.'));
  };
  draw();
  onRange(draw);
  return [h('h3', null, 'Allocations by size'), content];
}

// How long freed blocks lived and live ones have lived, all sites together; else the ages of live ones.
function lifetimes() {
  const title = h('h3', null, 'Lifetimes of blocks');
  if (isMeasured('lifetimes.epoch_s')) {
    const ages = new Map();
    for (let site = 0; site < SITE_COUNT; site++) {
      ['freed', 'live'].forEach((kind, at) => {
        for (const [age, blocks] of field(`lifetimes.${kind}`, site) ?? []) {
          const entry = ages.get(age) ?? [0, 0];
          entry[at] += blocks;
          ages.set(age, entry);
        }
      });
    }
    const rows = [...ages].sort((a, b) => a[0] - b[0])
      .map(([age, [freed, live]]) => [`up to ${duration(age)}`, freed, live > 0 ? `and ${count(live)} live` : null, live]);
    return [title, h('p', { class: 'muted' }, 'Blocks by the age at which they were freed; live ones, in the other colour, by their age now. Ages are known to a power of two of snapshots.'),
      rows.length > 0 ? bars(rows, count) : missing('No block was counted.')];
  }
  const live = [];
  for (let site = 0; site < SITE_COUNT; site++) {
    const age = field('median_age_s', site);
    if (age != null) live.push([age, field('live_bytes.value', site)]);
  }
  if (live.length === 0) return [title, missing('Lifetimes were not recorded, and the ages of live blocks are not known.')];
  const bounds = [1, 10, 60, 600, 3600, 86400, Infinity];
  const sums = bounds.map((bound, at) => [
    bound === Infinity ? 'older' : `up to ${duration(bound)}`,
    live.filter(([age]) => age <= bound && (at === 0 || age > bounds[at - 1])).reduce((sum, [, size]) => sum + size, 0)]);
  const top = sums.findLastIndex(([, size]) => size > 0);
  return [title, h('p', { class: 'muted' }, 'Live bytes at the end by the median age of their site’s blocks. How long freed blocks lived was not recorded.'),
    bars(sums.slice(0, top + 1), bytes)];
}

function faults() {
  const { faults: of } = REPORT;
  const title = h('h3', null, 'Page faults');
  if (of.minor == null) return [title, missing('Page faults were not counted.')];
  const span = momentCount > 1 ? TIMES.at(-1) - TIMES[0] : 0;
  const rows = [['minor (no disk)', of.minor, overTime('minor_faults')], ['major (disk or swap)', of.major, overTime('major_faults')]]
    .map(([name, total, values]) => [name, count(total),
      span > 0 ? `${((values.at(-1) - values[0]) / span).toFixed(1)}/s` : '–',
      of[`attributed_${name.split(' ')[0]}`] == null ? 'not attributed' : count(of[`attributed_${name.split(' ')[0]}`])]);
  const out = [title, of.diagnosis && h('p', null, of.diagnosis),
    smallTable('Page faults', ['Kind', 'Since the start', 'Mean rate', 'At call sites'], rows)];
  if (of.why_not) out.push(missing(`Not attributed to call sites: ${of.why_not}.`));
  if (isMeasured('faults.minor')) {
    const most = Array.from({ length: SITE_COUNT }, (_, site) => [site, (field('faults.minor', site) ?? 0) + (field('faults.major', site) ?? 0)])
      .filter(([, faulted]) => faulted > 0).sort((a, b) => b[1] - a[1]).slice(0, 8);
    out.push(smallTable('Sites with most page faults', ['Call site', 'Faults', 'Touched'],
      most.map(([site, faulted]) => [shortName(site), count(faulted), touched(site) ?? '–'])));
    const advised = new Map(); // what to do, and the sites that it is good for
    for (const [site] of most) {
      const advice = field('faults.advice', site);
      if (advice) advised.set(advice, [...(advised.get(advice) ?? []), shortName(site)]);
    }
    for (const [advice, names] of advised) out.push(h('p', null, h('strong', null, [...new Set(names)].join(', ')), `: ${advice}`));
  }
  const elsewhere = (of.regions ?? []).map((region) => [region.name, region.minor + region.major]);
  if (of.in_kernel != null) elsewhere.push([of.user_only ? 'in the kernel, where this user may not watch' : 'in the kernel, without an address', of.in_kernel]);
  if (of.before != null) elsewhere.push(['before attribution began', of.before]);
  const found = elsewhere.filter(([, faulted]) => faulted > 0).sort((a, b) => b[1] - a[1]);
  if (found.length > 0) out.push(h('h4', null, 'At no call site'), bars(found, count));
  return out;
}

// Who touched a site's memory first, in which order and when.
function touched(site) {
  const by = field('faults.first_touch.function', site);
  if (!by) return null;
  const [order, first, last] = [field('faults.order', site), field('faults.first_s', site), field('faults.last_s', site)];
  const when = first == null ? '' : last - first < 0.1 ? `, after ${duration(first)}` : `, from ${duration(first)} to ${duration(last)}`;
  return `first by ${shortFunction(by)}${order ? `, ${order}` : ''}${when}`;
}

function fragmentation() {
  const { fragmentation: of } = REPORT;
  const title = h('h3', null, 'Fragmentation');
  if (of.held_bytes == null) {
    return [title, missing(of.allocator
      ? `${of.allocator} was not asked what it holds.` : 'The allocator is not known.')];
  }
  const rows = [['held from the system', of.held_bytes], ['of it free', of.free_bytes], ['of it could be trimmed', of.releasable_bytes]]
    .filter(([, value]) => value != null);
  const out = [title, h('p', null, `${of.allocator ?? 'The allocator'}: ${of.ratio == null ? '' : `${percent(of.ratio, 1)} of what it holds is free.`}`), bars(rows, bytes)];
  if (of.pinned_by?.length > 0) {
    const at = new Map(Array.from({ length: SITE_COUNT }, (_, site) => [field('id', site), site]));
    out.push(h('h4', null, 'Sites whose blocks keep pages from being returned'),
      smallTable('Pinning sites', ['Site', 'Pages', 'Free bytes on them'], of.pinned_by.slice(0, 10).map((pin) =>
        [at.has(pin.site) ? shortName(at.get(pin.site)) : pin.site, count(pin.pages), bytes(pin.bytes)])));
  } else if (of.pinned_by == null) {
    out.push(missing('Which blocks keep pages from being returned was not measured.'));
  }
  if (of.arenas?.length > 0) {
    const figures = ['held_bytes', 'resident_bytes', 'live_bytes', 'overhead_bytes', 'free_bytes', 'releasable_bytes', 'top_bytes'];
    const heading = (name) => name.slice(0, -6).replaceAll('_', ' ');
    const process = (arena) => (REPORT.processes.length > 1 ? `pid ${REPORT.processes[arena.process]?.pid}: ` : '');
    out.push(h('h4', null, 'Arenas, those with most free memory first'),
      smallTable('Arenas', ['Arena', ...figures.map(heading)], of.arenas.slice(0, 12).map((arena) =>
        [`${process(arena)}${arena.number === 1 ? 'main' : arena.number}`, ...figures.map((name) => bytes(arena[name]))])));
  }
  return out;
}

function threads() {
  const content = h('div');
  const draw = () => {
    const sums = new Map();
    for (let site = 0; site < SITE_COUNT; site++) {
      for (const name of new Set(field('threads', site) ?? [])) {
        const entry = sums.get(name) ?? [0, 0, 0];
        entry[0] += liveIn(site);
        entry[1] += growthIn(site);
        entry[2] += 1;
        sums.set(name, entry);
      }
    }
    const rows = [...sums].sort((a, b) => b[1][0] - a[1][0]).slice(0, 20)
      .map(([name, [live, growth, sites]]) => [name, bytes(live), change(growth), count(sites)]);
    content.replaceChildren(rows.length > 0
      ? smallTable('Threads', ['Thread', 'Live at its sites', 'Change', 'Sites'], rows)
      : missing('Threads are not known.'));
  };
  draw();
  onRange(draw);
  return [h('h3', null, 'Threads'),
    h('p', { class: 'muted' }, 'A site belongs to the threads that were the first to allocate there; others may have followed.'), content];
}

function processes() {
  if (REPORT.processes.length < 2) return [];
  const rows = REPORT.processes.slice(0, 200).map((one) => [
    `${one.pid}`, fileName(one.exe), one.parent == null ? '–' : `${REPORT.processes[one.parent]?.pid}`,
    one.ended === 'exit' ? `exit ${one.exit_status}` : one.ended === 'signal' ? `signal ${one.signal}` : one.ended,
    duration(one.duration_s), bytes(one.inherited_bytes)]);
  return [h('h3', null, 'Processes'), smallTable('Processes', ['Pid', 'Program', 'Parent', 'Ended', 'Recorded', 'Inherited'], rows, 4)];
}

// What V8's collector did, where a log of it was given.
function collections() {
  const gc = REPORT.gc;
  if (gc == null) return [];
  const pauses = `${count(gc.major)} of the whole heap, ${count(gc.minor)} of young objects; JavaScript stood still for ${duration(gc.pause_s)} in all, for ${duration(gc.longest_pause_s)} at most.`;
  return [h('h3', null, 'Garbage collections'), h('p', null, gc.verdict), h('p', null, pauses)];
}

function eventList() {
  const rows = REPORT.events.slice(0, 200).map((event) => [duration(event.t_s), event.type, event.text]);
  const scans = REPORT.scans.map((scan) => [duration(scan.at_s), `scan (${scan.kind})`,
    `${scan.complete ? 'complete' : `incomplete: ${scan.why_not ?? 'no reason given'}`}, took ${duration(scan.duration_s)}`]);
  const all = [...rows, ...scans];
  return all.length === 0 ? [] : [h('h3', null, 'Events'), smallTable('Events', ['After', 'What', 'In words'], all, 3)];
}

// What the system around the processes said: every figure that the document has.
function systemFigures() {
  const rows = [];
  const words = (name) => name.replace(/_(bytes|s|share)$/, '').replaceAll('_', ' ');
  const add = (prefix, of) => {
    for (const [name, value] of Object.entries(of ?? {})) {
      if (value == null || Array.isArray(value)) continue;
      if (typeof value === 'object') add(`${words(name)}: `, value);
      else if (name.endsWith('_bytes')) rows.push([prefix + words(name), bytes(value)]);
      else if (name.endsWith('_share')) rows.push([`${prefix}${words(name)} (share)`, percent(value, 1)]);
      else if (name.endsWith('_s')) rows.push([prefix + words(name), duration(value)]);
      else rows.push([prefix + words(name), typeof value === 'number' ? count(value) : String(value)]);
    }
  };
  add('', REPORT.system);
  return rows.length === 0 ? [] : [h('h3', null, 'The system around it'), smallTable('System', ['What', 'At the end'], rows)];
}

function memorySection() {
  return section('more', 'Where it comes from, and what it costs',
    h('div', { class: 'columns' },
      h('div', null, sizesSection()), h('div', null, lifetimes(), callsSection()),
      h('div', null, faults()), h('div', null, fragmentation()),
      h('div', null, threads()), h('div', null, processes(), collections(), eventList()), h('div', null, systemFigures())));
}

function coverageSection() {
  const { coverage, recording } = REPORT;
  const facts = [
    ['Mode', recording.mode + (recording.sample_bytes ? `, one sample per ${bytes(recording.sample_bytes)}` : '')],
    ['Snapshots', count(recording.snapshots)],
    ['Complete', recording.complete ? 'yes: every process ended in order' : 'no: a process still ran, was killed, or a file is damaged'],
    ['Frees of unknown blocks', count(coverage.unknown_frees)],
    ['Allocations not recorded', count(coverage.dropped)],
    ['Stacks cut', count(coverage.cut_stacks)],
    ['Stacks folded', count(coverage.folded_stacks)],
    ['Allocator out of sight', coverage.untracked_allocator ?? 'none found'],
    ['leaktrack’s own memory', `${bytes(recording.own_memory_bytes)} mapped`],
    ['leaktrack’s own CPU time', duration(recording.own_cpu_s)],
    ['Size of the recording', bytes(recording.size_bytes)],
  ];
  return section('coverage', 'What could not be seen',
    h('ul', { class: 'notes' }, coverage.notes.map((note) => h('li', null, note))),
    h('dl', { class: 'facts' }, facts.map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value)))));
}

function nextSection() {
  if (DATA.answer.commands.length === 0) return null;
  return section('next', 'How to go on',
    h('dl', { class: 'commands' }, DATA.answer.commands.map(([command, purpose]) =>
      h('div', null, h('dt', null, h('code', null, command)), h('dd', null, purpose)))));
}
