// Findings as cards: what, how fast, how long until the limit, why that is known, what to do.

// What it lost, else what it holds.
function sizeOf(site) {
  if (field('live_bytes.value', site) === 0) return `${bytes(field('peak_live_bytes', site))} at its peak`;
  return field('verdict', site) === 'lost' ? `${bytes(lostIn(site))} lost` : bytes(field('live_bytes.value', site));
}

// By how much it is larger than at its first snapshot.
function grownBy(site) {
  const points = livePoints(site);
  return points.length < 2 ? 0 : Math.max(0, points[points.length - 1][1] - points[0][1]);
}

function card(finding, number) {
  const [worst] = finding.sites;
  const of = worst == null ? null : blamed(worst);
  const points = finding.sites.length === 0 ? []
    : finding.sites.map(livePoints).reduce((sum, one) => sum.map(([t, value], at) => [t, value + one[at][1]]));
  const isLost = finding.verdict === 'lost';
  const isGone = finding.live_bytes === 0;
  const size = isGone ? `to ${bytes(finding.peak_live_bytes)}, freed at exit` : bytes(finding.live_bytes);
  const blocks = finding.stacks === 1 && worst != null && !isGone
    ? `in ${plural(field('live_blocks.value', worst), 'block')}`
    : finding.stacks > 1 ? `in ${plural(finding.stacks, 'call stack')}` : '';
  const lost = [bytes(finding.lost_bytes), `in ${plural(finding.lost_blocks, 'block')}`,
    finding.live_bytes > finding.lost_bytes && `of ${bytes(finding.live_bytes)} live`,
    finding.stacks > 1 && `in ${count(finding.lost_sites)} of ${plural(finding.stacks, 'call stack')}`];
  const key = [isLost ? ['Lost', lost.filter(Boolean).join(' ')] : ['Live', `${size} ${blocks}`]];
  if (finding.rate) key.push(['Rate', `+${rateBetween(finding.rate)}`]);
  if (finding.pattern && finding.pattern !== 'unclear') key.push(['Pattern', finding.pattern]);
  if (finding.limit_in_s) key.push(['Forecast', `limit in ${durationBetween(finding.limit_in_s)}`]);
  else if (REPORT.memory.limit_bytes == null) key.push(['Forecast', 'no limit known']);
  const spark = h('div', { class: 'card-spark' });
  const ranged = h('div');
  const draw = () => {
    spark.replaceChildren(sparkline(points, { width: 320, height: 84, marks: range && rangeSeconds() }));
    ranged.replaceChildren(...[rangeLine(finding.sites)].filter(Boolean));
  };
  draw();
  onRange(draw);
  const others = finding.sites.slice(1);
  const more = finding.stacks - 1;
  const rises = finding.verdict === 'growing' && !isGone;
  const listed = others.filter((site) => field('live_bytes.value', site) > 0 || isGone).slice(0, 30);
  if (rises) listed.sort((a, b) => grownBy(b) - grownBy(a));
  const suppression = (worst == null ? null : field('suppression', worst)) ?? [];
  return h('article', { class: `card ${finding.verdict}`, 'aria-labelledby': `finding-${number}` },
    h('header', null,
      h('span', { class: 'rank', 'aria-hidden': 'true' }, number), verdictBadge(finding.verdict),
      h('div', { class: 'names' },
        h('h3', { id: `finding-${number}`, tabindex: -1 }, h('span', { class: 'hidden' }, `Finding ${number}: `),
          h('code', null, of ? frameName(of) : finding.key)),
        of?.function != null && h('p', { class: 'place' }, place(of)))),
    h('div', { class: 'card-body' },
      h('div', null,
        h('dl', { class: 'key' }, key.map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value)))),
        of && excerpt(of)),
      h('figure', null, spark,
        h('figcaption', null, points.length > 1
          ? `live bytes, highest ${bytes(Math.max(...points.map((point) => point[1])))}` : ''))),
    ranged,
    h('p', null, h('b', null, 'Why '), finding.why.join(' ')),
    finding.advice && h('p', { class: 'advice' }, h('b', null, 'Do '), finding.advice),
    worst != null && h('details', { class: 'on-paper' }, h('summary', null, 'Stack and figures'), facts(worst), stackList(worst)),
    worst != null && more > 0 && h('details', null,
      h('summary', null, `${plural(more, 'other call stack')} of this line`),
      h('ul', { class: 'others' }, listed.map((site) => h('li', null,
        h('button', { type: 'button', class: 'link', on: { click: () => showSite(site) } },
          `${sizeOf(site)}${rises ? ` (+${bytes(grownBy(site))})` : ''} through ${frames(site).slice((field('blame', site) ?? 0) + 1).filter((one) => !one.plumbing).slice(0, 3).map((one) => shortFunction(frameName(one))).join(' ← ') || field('id', site)}`)))),
      more > listed.length && h('p', { class: 'muted' }, `${listed.length > 0 ? 'And ' : ''}${plural(more - listed.length, 'more stack')} with less of it.`)),
    suppression.length > 0 && h('details', null, h('summary', null, 'If this is known and meant to be'),
      h('p', null, 'For a file given to ', h('code', null, '--suppressions'), ':'),
      h('pre', { class: 'source' }, h('code', null, suppression.join('\n')))));
}

// Goes to the card of a finding.
let showMoreFindings = () => {};
function showFinding(number) {
  byId('site').close();
  if (!byId(`finding-${number}`)) showMoreFindings();
  const title = byId(`finding-${number}`);
  title.scrollIntoView({ block: 'center' });
  title.focus();
}

function findingsSection() {
  const all = REPORT.finding_count;
  const title = all === 0 ? 'Findings' : all === 1 ? 'Finding' : `${count(all)} findings, the worst first`;
  const shown = 12;
  const cards = DATA.findings.slice(0, shown).map((finding, at) => card(finding, at + 1));
  const rest = DATA.findings.slice(shown);
  showMoreFindings = () => more.replaceWith(...rest.map((finding, at) => card(finding, shown + at + 1)));
  const more = rest.length > 0 && h('button', { type: 'button', on: { click: showMoreFindings } }, `Show ${plural(rest.length, 'more finding')}`);
  const unshown = all - DATA.findings.length - DATA.answer.filtered_findings;
  const none = REPORT.coverage.usable
    ? 'No call site is lost or keeps growing. All sites are in the table below.'
    : 'This recording cannot say whether it leaks; see what could not be seen.';
  return section('findings', title, cards.length > 0 ? cards : all === 0 && h('p', null, none), more || '',
    DATA.answer.not_listed && missing(DATA.answer.not_listed),
    unshown > 0 && missing(`${plural(unshown, 'lesser finding')} ${unshown === 1 ? 'is' : 'are'} in the table below only.`));
}
