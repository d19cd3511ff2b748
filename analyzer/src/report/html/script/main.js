// Puts the page together.

function themeButton() {
  const root = document.documentElement;
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const isDark = () => (root.dataset.theme ? root.dataset.theme === 'dark' : dark.matches);
  const button = byId('theme');
  const say = () => {
    button.textContent = isDark() ? 'Light' : 'Dark';
    button.setAttribute('aria-label', `Use ${isDark() ? 'light' : 'dark'} colours`);
  };
  try {
    const kept = localStorage.getItem('leaktrack-theme');
    if (kept === 'dark' || kept === 'light') root.dataset.theme = kept;
  } catch { /* no storage: the system's choice holds */ }
  button.addEventListener('click', () => {
    root.dataset.theme = isDark() ? 'light' : 'dark';
    try {
      localStorage.setItem('leaktrack-theme', root.dataset.theme);
    } catch { /* as above */ }
    say();
  });
  dark.addEventListener('change', say);
  say();
}

function navigation(sections) {
  byId('nav').replaceChildren(...sections.map((one) =>
    h('li', null, h('a', { href: `#${one.id}` }, one.dataset.short))));
}

function main() {
  themeButton();
  byId('print').addEventListener('click', () => print());
  // On paper nothing opens: the stacks of findings are shown while it is printed.
  const closed = () => [...document.querySelectorAll('details.on-paper:not([open])')];
  let opened = [];
  addEventListener('beforeprint', () => {
    opened = closed();
    for (const details of opened) details.open = true;
  });
  addEventListener('afterprint', () => {
    for (const details of opened) details.open = false;
  });
  const named = (element, short) => {
    if (element) element.dataset.short = short;
    return element;
  };
  const flameGraph = named(flameSection(), 'Flame graph');
  const sites = named(tableSection(), 'Call sites');
  const places = named(placesSection(), 'Addresses');
  const sections = [
    named(answerSection(), 'Answer'), named(timelineSection(), 'Over time'), named(findingsSection(), 'Findings'),
    flameGraph, sites, places, named(memorySection(), 'Sizes, faults, threads'),
    named(coverageSection(), 'Not seen'), named(nextSection(), 'Next'),
  ].filter(Boolean);
  navigation(sections);
  byId('report').replaceChildren(...sections);
  const { generator, schema } = REPORT;
  byId('made').textContent = `leaktrack ${generator.version}, ${utc(generator.report_unix_s)}, ${schema}. The same figures: leaktrack report --format json.`;
  // The answer is on the screen before what is further down is drawn.
  const root = document.documentElement;
  root.dataset.shown = String(Math.round(performance.now()));
  const rest = () => {
    if (root.dataset.ready) return;
    flameGraph.start();
    sites.start();
    places?.start();
    root.dataset.ready = String(Math.round(performance.now()));
  };
  addEventListener('beforeprint', rest, { capture: true }); // before those of the sections
  setTimeout(rest, 0);
}

main();
