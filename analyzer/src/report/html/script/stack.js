// One call site for people: its names, its stack with source, and everything about it in a dialog.

// The innermost part of a qualified name, without arguments.
function shortFunction(name) {
  let depth = 0;
  let out = '';
  for (const c of name) {
    if (c === '<') depth++;
    else if (c === '>' && depth > 0) depth--;
    else if (depth === 0) out += c;
  }
  out = out.replace(/::::/g, '::').replace(/\(.*$/, '') || name;
  const parts = out.split('::');
  return parts.length > 2 ? parts.slice(-2).join('::') : out;
}

// A path without its outer folders.
function shortPlace(of) {
  const parts = place(of).split('/');
  return parts.length > 3 ? `…/${parts.slice(-2).join('/')}` : parts.join('/');
}

function shortName(site) {
  const of = blamed(site);
  if (!of) return '(no stack)';
  return of.function ? shortFunction(of.function) : place(of);
}

function verdictBadge(verdict) {
  return h('span', { class: `verdict ${verdict}` }, verdict);
}

// A way to the finding that a site belongs to, whatever its own verdict: of the stacks of a line that grows some stay.
function findingLink(sites) {
  const numbers = [...new Set(sites.map((site) => field('finding', site)))];
  const [number] = numbers;
  if (numbers.length !== 1 || number == null || number > DATA.findings.length) return null;
  const { verdict } = DATA.findings[number - 1];
  const isOther = sites.some((site) => field('verdict', site) !== verdict);
  return h('button', { type: 'button', class: 'link to-finding', title: `part of finding ${number}, which is ${verdict}`, on: { click: () => showFinding(number) } },
    isOther ? `in ${verdict} ${number}` : `finding ${number}`);
}

// The source around a line, the line itself marked.
function excerpt(of) {
  const near = AROUND.get(sourceKey(of) ?? '');
  if (!near) {
    const line = SOURCE.get(sourceKey(of) ?? '');
    return line && h('pre', { class: 'source' }, h('code', null, h('mark', null, `${of.line}  ${line}`)));
  }
  const indent = Math.min(...near.words.filter((words) => words.trim()).map((words) => words.search(/\S/)));
  const width = String(near.first + near.words.length).length;
  const lines = near.words.map((words, at) => {
    const number = near.first + at;
    const line = `${String(number).padStart(width)}  ${words.slice(indent)}`;
    return [number === of.line ? h('mark', null, line) : line, at < near.words.length - 1 ? '\n' : ''];
  });
  return h('pre', { class: 'source' }, h('code', null, lines));
}

function stackList(site) {
  const all = frames(site);
  const at = field('blame', site);
  const item = (of, index) => {
    const line = index === at ? null : SOURCE.get(sourceKey(of) ?? '');
    return h('li', { class: [index === at && 'blamed', of.plumbing && index !== at && 'plumbing'].filter(Boolean).join(' ') || null },
      h('code', { class: 'function' }, frameName(of)),
      of.inlined && h('span', { class: 'note' }, 'inlined'),
      index === at && h('span', { class: 'note strong' }, 'look here'),
      of.function != null && h('span', { class: 'place' }, place(of)),
      index === at ? excerpt(of) : line && h('pre', { class: 'source' }, h('code', null, line)));
  };
  const items = [];
  for (let index = 0; index < all.length;) {
    const isFolded = (one) => all[one].plumbing && one !== at;
    let end = index;
    while (end < all.length && isFolded(end)) end++;
    if (end - index > 3) {
      const hidden = all.slice(index, end).map((of, offset) => item(of, index + offset));
      items.push(h('li', { class: 'folded' }, h('details', null,
        h('summary', null, `${end - index} frames of libraries and runtime`), h('ol', null, hidden))));
      index = end;
    } else {
      items.push(item(all[index], index));
      index++;
    }
  }
  return all.length === 0 ? missing('No stack was recorded.') : h('ol', { class: 'stack' }, items);
}

function facts(site) {
  const get = (path) => field(path, site);
  const rows = [
    ['Live', `${bytes(get('live_bytes.value'))} in ${plural(get('live_blocks.value'), 'block')}`],
    ['Allocated', `${plural(get('allocations'), 'block')}, ${bytes(get('allocated_bytes'))}`],
    ['Freed', plural(get('frees'), 'block')],
    ['Peak', bytes(get('peak_live_bytes'))],
    ['First seen', `after ${duration(get('first_seen_s'))}`],
  ];
  if (get('oldest_s') != null) rows.push(['Oldest block', `${duration(get('oldest_s'))} old, median ${duration(get('median_age_s'))}`]);
  const growth = estimate('growth.rate', site);
  if (growth) rows.push(['Growth', rateBetween(growth)]);
  const limit = estimate('growth.limit_in_s', site);
  if (limit) rows.push(['Limit, by this alone', `in ${durationBetween(limit)}`]);
  if (get('lost.definite_bytes') != null) rows.push(['Lost', `${bytes(get('lost.definite_bytes') + get('lost.indirect_bytes'))} in ${plural(get('lost.definite_blocks') + get('lost.indirect_blocks'), 'block')}`]);
  if (get('resident_bytes') != null) rows.push(['Resident', `${bytes(get('resident_bytes'))}${get('faults.filled') ? `, filled ${get('faults.filled')}` : ''}`]);
  if (get('swapped_bytes') > 0) rows.push(['Swapped out', bytes(get('swapped_bytes'))]);
  if (get('untouched_bytes') >= 4096) rows.push(['Never touched', bytes(get('untouched_bytes'))]);
  if (get('faults.minor') != null) rows.push(['Page faults', `${count(get('faults.minor'))} minor, ${count(get('faults.major'))} major`]);
  if (touched(site)) rows.push(['Touched', touched(site)]);
  const threads = get('threads') ?? [];
  if (threads.length > 0) rows.push(['Threads', threads.length > 4 ? `${threads.slice(0, 4).join(', ')} and ${threads.length - 4} more` : threads.join(', ')]);
  const shares = get('by_process');
  if (shares) rows.push(['Processes', shares.slice(0, 6).map((share) => `pid ${REPORT.processes[share.process]?.pid}: ${bytes(share.live_bytes)}`).join(', ')]);
  rows.push(['Kind', get('kind') === 'mmap' ? 'mapping made by the program' : 'heap'], ['Id', get('id')]);
  return h('dl', { class: 'facts' }, rows.map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value))));
}

// What a site did in the chosen range; nothing for the whole recording.
function rangeLine(sites) {
  if (!range) return null;
  const sum = (of) => sites.reduce((total, site) => total + of(site), 0);
  const [from, to] = rangeSeconds();
  const growth = sum(growthIn);
  const temporary = sum((site) => temporaryIn(site) ?? 0);
  return h('p', { class: 'in-range' }, `In the range: ${change(growth)} (${rate(growth / (to - from))}), ${plural(sum(allocationsIn), 'allocation')}${temporary > 0 ? `, ${count(temporary)} of them temporary` : ''}, ${bytes(sum(allocatedIn))} allocated.`);
}

// When the site's blocks were temporary, if any were.
function temporaryOverTime(site) {
  if (!TELLS_TEMPORARY || !(field('temporary', site) > 0) || LAST < 1) return '';
  const points = pointsOf('temporary', site);
  const rates = points.slice(1).map(([t, value], at) => [t, (value - points[at][1]) / Math.max(t - points[at][0], 1e-9)]);
  const most = rates.reduce((best, point) => (point[1] > best[1] ? point : best));
  return h('div', { class: 'wide-spark' },
    h('p', { class: 'muted' }, `Temporary blocks per second: ${most[1] < 10 ? fixed(most[1], 1) : count(most[1])} at most, after ${duration(most[0])}.`),
    sparkline(rates, { width: 600, height: 40, marks: range && rangeSeconds() }));
}

function showSite(site) {
  const dialog = byId('site');
  const close = h('button', { type: 'button', class: 'close', on: { click: () => dialog.close() } }, 'Close');
  const of = blamed(site);
  dialog.replaceChildren(
    h('div', { class: 'dialog-head' }, verdictBadge(field('verdict', site)), findingLink([site]),
      h('h2', { id: 'site-title' }, of ? frameName(of) : '(no stack)'), close),
    of?.function != null && h('p', { class: 'place' }, place(of)),
    h('div', { class: 'wide-spark' }, sparkline(livePoints(site), { width: 600, height: 70, marks: range && rangeSeconds() })),
    rangeLine([site]) ?? '',
    temporaryOverTime(site),
    h('p', null, (field('why', site) ?? []).join(' ')),
    field('advice', site) && h('p', { class: 'advice' }, field('advice', site)),
    facts(site),
    h('h3', null, 'Stack'),
    stackList(site));
  dialog.setAttribute('aria-labelledby', 'site-title');
  dialog.showModal();
  dialog.scrollTop = 0;
  close.focus();
}
