// The answer: one sentence, what follows from it, and the key figures of the chosen range.

function figure(label, value, note, isAlarm) {
  return h('div', { class: isAlarm ? 'figure alarm' : 'figure' },
    h('dt', null, label), h('dd', null, value, note && h('small', null, note)));
}

// The 95% interval, unless it is as narrow as the figure.
function interval(estimate, format) {
  if (estimate?.low == null || estimate.high == null) return null;
  const [low, high] = [format(estimate.low), format(estimate.high)];
  return low === high ? null : `95%: ${low} to ${high}`;
}

// What became another program has no memory of its own any more.
function areSeveral() {
  return REPORT.processes.filter((process) => process.ended !== 'exec').length > 1;
}

function keyFigures() {
  const { totals, memory } = REPORT;
  const at = (values, t) => values[Math.max(0, lastUpTo(TIMES, t))] ?? null;
  const rss = overTime('rss_bytes');
  const figures = [];
  const [from, to] = rangeSeconds();
  if (range) {
    const [live, before] = [at(liveOverTime, to), at(liveOverTime, from)];
    figures.push(figure('Live heap', bytes(live), `${change(live - before)} in the range`));
    figures.push(figure('Net growth', rate((live - before) / (to - from)), 'of the live heap, in the range'));
    figures.push(figure('Resident', bytes(at(rss, to)), `${change(at(rss, to) - at(rss, from))} in the range`));
    const [peakAt, peak] = TIMES.reduce(([bestAt, best], t, index) =>
      t >= from && t <= to && liveOverTime[index] > best ? [t, liveOverTime[index]] : [bestAt, best], [from, -1]);
    figures.push(figure('Peak live heap', bytes(Math.max(peak, 0)), `after ${duration(peakAt)}`));
    let made = 0;
    for (let site = 0; site < SITE_COUNT; site++) made += field('kind', site) === 'heap' ? allocationsIn(site) : 0;
    figures.push(figure('Allocations', count(made), 'in the range, listed sites'));
  } else {
    figures.push(figure('Live heap', bytes(totals.live_bytes), plural(totals.live_blocks, 'block')));
    const growth = DATA.answer.rate;
    figures.push(figure('Growth of findings', growth ? rate(growth.value) : 'none',
      interval(growth, rate), Boolean(growth)));
    const peak = memory.kernel_peak_rss_bytes == null ? '' : `, peak ${bytes(memory.kernel_peak_rss_bytes)}`;
    figures.push(figure(areSeveral() ? 'Resident, added up' : 'Resident', bytes(rss.at(-1) ?? memory.rss_bytes),
      `${memory.limit_bytes == null ? 'no limit known' : `limit ${bytes(memory.limit_bytes)}`}${peak}`));
    const limit = DATA.answer.limit_in_s;
    if (limit) figures.push(figure('Limit reached in', duration(limit.value),
      interval(limit, duration), true));
    figures.push(figure('Peak live heap', bytes(totals.peak_live_bytes),
      `of ${plural(TIMES.length, 'snapshot')}, after ${duration(totals.peak_at_s)}`));
    figures.push(figure('Allocations', count(totals.allocations), `${count(totals.frees)} freed`));
    if (totals.temporary != null) {
      figures.push(figure('Temporary', percent(totals.temporary, totals.allocations), `${count(totals.temporary)} freed at once`));
    }
  }
  return figures;
}

function answerSection() {
  const { answer } = DATA;
  const state = !REPORT.coverage.usable ? 'caution' : REPORT.finding_count > 0 ? 'alarm' : 'calm';
  const figures = h('dl', { class: 'figures', id: 'figures' });
  const draw = () => figures.replaceChildren(...keyFigures());
  draw();
  onRange(draw);
  return h('section', { id: 'answer', 'aria-labelledby': 'sentence' },
    h('h1', { id: 'sentence', class: state }, answer.sentence),
    h('p', { class: 'details' }, answer.details.join(' ')),
    figures,
    h('details', { class: 'subjects', open: answer.subjects.length === 1 },
      h('summary', null, answer.subjects.length === 1 ? 'The process' : `${count(answer.subjects.length)} processes`),
      h('ul', null, answer.subjects.slice(0, 50).map((line) => h('li', null, line)))));
}
