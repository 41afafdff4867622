'use strict';
// Shows what /live sends. Everything from the server is put on the page as text; nothing is ever read as markup.
(() => {
  const $ = id => document.getElementById(id);
  const SVG = 'http://www.w3.org/2000/svg';

  // ---- making and changing elements -------------------------------------------------
  function make(tag, cls, ...children) {
    const e = document.createElement(tag);
    if (cls) e.className = cls;
    e.append(...children);
    return e;
  }
  function text(e, t) {
    t = String(t);
    if (e.textContent !== t) e.textContent = t;
  }
  function attr(e, name, value) {
    if (value === null) { if (e.hasAttribute(name)) e.removeAttribute(name); return; }
    value = String(value);
    if (e.getAttribute(name) !== value) e.setAttribute(name, value);
  }
  // keyed makes the children of parent be one for each item, in order. Those that stay are changed and not replaced, so
  // that focus, selection and open details stay too.
  const kept = new WeakMap();
  function keyed(parent, items, key, create, update) {
    if (!kept.has(parent)) kept.set(parent, new Map());
    const have = kept.get(parent);
    const want = new Set();
    let at = parent.tHead || null;
    for (const item of items) {
      const k = key(item);
      if (want.has(k)) continue;
      want.add(k);
      let e = have.get(k);
      if (!e) { e = create(item); have.set(k, e); }
      update(e, item);
      const next = at ? at.nextSibling : parent.firstChild;
      if (next !== e) parent.insertBefore(e, next);
      at = e;
    }
    for (const [k, e] of have) if (!want.has(k)) { e.remove(); have.delete(k); }
  }

  // ---- how figures are written ---------------------------------------------------------
  function time(s) {
    if (!s) return '';
    if (s < 0.001) return Math.max(1, Math.round(s * 1e6)) + ' µs';
    if (s < 1) return (s < 0.01 ? (s * 1e3).toFixed(1) : Math.round(s * 1e3)) + ' ms';
    if (s < 10) return s.toFixed(1) + ' s';
    if (s < 120) return Math.round(s) + ' s';
    if (s < 7200) return Math.round(s / 60) + ' min';
    if (s < 172800) return Math.round(s / 3600) + ' h';
    return Math.round(s / 86400) + ' d';
  }
  function rate(r) { return !r ? '' : r < 9.95 ? r.toFixed(1) : Math.round(r).toLocaleString('en'); }
  function bytes(n) { const m = n / 1048576; return m >= 1024 ? (m / 1024).toFixed(1) + ' GiB' : Math.round(m) + ' MiB'; }
  function plural(n, what) { return n.toLocaleString('en') + ' ' + what + (n === 1 ? '' : /s$/.test(what) ? 'es' : 's'); }
  function clock(iso) { const d = new Date(iso); return [d.getHours(), d.getMinutes(), d.getSeconds()].map(n => String(n).padStart(2, '0')).join(':'); }
  const lifeClass = what => ({ running: 0, active: 0, idle: 0, paused: 1, pmsuspended: 2, 'in shutdown': 2, 'shut off': 3, inactive: 3, crashed: 4 })[what] ?? 2;

  // ---- plots ----------------------------------------------------------------------------
  const span = 5 * 60 * 1000, gap = 15000;
  let points = [];
  // paths draws values over the last minutes; where there was no look for long, the line has a gap. Latencies are drawn on
  // a logarithmic scale, on which a call that takes a hundred times as long is seen and does not flatten the rest.
  function paths(svg, series, opt) {
    const w = 300, h = 60, now = points.length ? points[points.length - 1].t : 0;
    attr(svg, 'viewBox', `0 0 ${w} ${h}`);
    attr(svg, 'preserveAspectRatio', 'none');
    let low = opt.log ? Infinity : 0, high = opt.least || 0;
    for (const get of series) for (const p of points) { const v = get(p); if (v > 0) { high = Math.max(high, v); low = Math.min(low, v); } }
    if (opt.log) { low = Math.min(low, 1e-4); high = Math.max(high, 1e-2); }
    const y = v => {
      const part = opt.log ? Math.log(Math.max(v, low) / low) / Math.log(high / low) : v / (high || 1);
      return (h - 3 - part * (h - 8)).toFixed(1);
    };
    const x = t => (w - (now - t) / span * w).toFixed(1);
    const out = [];
    series.forEach((get, i) => {
      let line = '', area = '', last = null, first = null;
      for (const p of points) {
        const v = get(p);
        const none = v === undefined || v === null || (opt.log && !v);
        if (none) { last = null; continue; }
        const at = `${x(p.t)} ${y(v)}`;
        if (last === null || p.t - last.t > gap) { if (last && opt.area) area += `L${x(last.t)} ${h}L${first} ${h}Z`; line += `M${at}`; area += `M${at}`; first = x(p.t); }
        else { line += `L${at}`; area += `L${at}`; }
        last = p;
      }
      if (opt.area && last && i === 0) out.push(['area', area + `L${x(last.t)} ${h}L${first} ${h}Z`]);
      out.push([i ? 'line second' : 'line', line]);
    });
    while (svg.childNodes.length > out.length) svg.lastChild.remove();
    out.forEach(([cls, d], i) => {
      let e = svg.childNodes[i];
      if (!e) { e = document.createElementNS(SVG, 'path'); svg.append(e); }
      attr(e, 'class', cls);
      attr(e, 'd', d || 'M0 0');
    });
  }

  // ---- the page -----------------------------------------------------------------------
  const shown = new Map();   // branch -> how many objects were asked for; 0 is closed
  let known = null;          // faults that were on the page before
  let view = null;

  function draw(v) {
    view = v;
    for (const p of v.points) if (!points.length || p.t > points[points.length - 1].t) points.push(p);
    const end = points.length ? points[points.length - 1].t : 0;
    while (points.length && points[0].t < end - span) points.shift();
    text($('mode'), v.mode);
    text($('root'), v.root ? 'below ' + v.root : '');
    glance(v);
    keyed($('branches'), v.branches, b => b.name, makeBranch, updateBranch);
    processes(v);
    faults(v);
    $('quarantine-box').hidden = !v.quarantined.length;
    keyed($('quarantine'), v.quarantined, o => o.id, () => make('li', '', make('span', 'who'), make('span', 'where'), make('span', 'why')), (e, o) => {
      text(e.children[0], o.name);
      text(e.children[1], `${o.kind} of ${o.branch}, failed ${o.failed || 0} times`);
      text(e.children[2], o.error || '');
    });
    document.title = (v.wrong.length ? '(!) ' : '') + 'virtree' + (v.mode === 'off' ? '' : ' – ' + v.mode);
  }

  function glance(v) {
    const banner = $('wrong');
    banner.hidden = false;
    const off = !v.processes.length;
    const bad = off || v.wrong.length > 0;
    banner.className = 'banner' + (bad ? ' bad' : '');
    text(banner, off ? 'No process of the tree answers; waiting for one.' : !bad ? 'All is well.' :
      'Trouble: ' + v.wrong.map(w => / /.test(w.what) && w.n === 1 ? w.what : w.n + ' ' + w.what).join(', ') + '.');
    const all = v.guests.reduce((n, g) => n + g.n, 0);
    const up = v.guests.filter(g => g.what === 'running').reduce((n, g) => n + g.n, 0);
    text($('guests-n'), all ? `${up.toLocaleString('en')} of ${all.toLocaleString('en')} running` : 'none');
    attr($('guests-bar'), 'aria-label', v.guests.map(g => g.n + ' ' + g.what).join(', '));
    keyed($('guests-bar'), v.guests, g => g.what, () => make('span'), (e, g) => { e.className = 'life-' + lifeClass(g.what); e.style.flexGrow = g.n; });
    keyed($('guests'), v.guests, g => g.what, () => make('li'), (e, g) => { e.className = 'life-' + lifeClass(g.what); text(e, g.n.toLocaleString('en') + ' ' + g.what); });
    text($('calls-n'), rate(v.calls.per_second) || '0');
    text($('calls-more'), plural(v.clients, 'client') + (v.calls.failed_per_second ? `, ${rate(v.calls.failed_per_second)}/s answered with an error` : '') + `, ${rate(v.messages) || 0} messages/s`);
    text($('lat-n'), time(v.calls.p99) || '–');
    text($('lat-more'), v.calls.count ? 'half within ' + time(v.calls.p50) + ', of the last ' + plural(v.calls.count, 'call') : 'no calls of late');
    const cpu = v.processes.reduce((n, p) => n + p.cpu, 0), rss = v.processes.reduce((n, p) => n + p.rss, 0), wake = v.processes.reduce((n, p) => n + p.wakeups, 0);
    text($('cpu-n'), (100 * cpu).toFixed(1) + '%');
    text($('cost-more'), `${bytes(rss)} in ${plural(v.processes.length, 'process')}, ${Math.round(wake)} wake-ups/s, ${plural(v.actors, 'actor')}`);
    paths($('calls-plot'), [p => p.c[0]], { area: true, least: 1 });
    paths($('lat-plot'), [p => p.c[1], p => p.c[2]], { log: true });
    paths($('cpu-plot'), [p => p.u], { area: true, least: 0.02 });
  }

  function state(e, s, ails, quiet) {
    const cls = 'state ' + (ails ? 'bad' : quiet || s === 'running' ? 'ok' : 'warn');
    if (e.className !== cls) e.className = cls;
    text(e, s);
  }
  const quietState = s => s === 'off' || s === 'idle';

  function cell(row, cls) { const td = make('td', cls || ''); row.append(td); return td; }

  function makeBranch(b) {
    const body = make('tbody');
    const row = make('tr');
    const button = make('button', 'branch', make('span'));
    button.type = 'button';
    button.addEventListener('click', () => {
      const open = button.getAttribute('aria-expanded') === 'true';
      shown.set(b.name, open ? 0 : 12);
      attr(button, 'aria-expanded', !open);
      ask();
    });
    const f = { button };
    cell(row).append(button);
    f.state = make('span', 'state'); cell(row).append(f.state);
    f.objects = cell(row, 'lives');
    f.calls = cell(row, 'n'); f.p50 = cell(row, 'n'); f.p99 = cell(row, 'n');
    f.spark = document.createElementNS(SVG, 'svg');
    attr(f.spark, 'class', 'spark'); attr(f.spark, 'role', 'img'); attr(f.spark, 'aria-label', `latency of ${b.name}`);
    cell(row, 'trend').append(f.spark);
    f.queue = cell(row, 'n'); f.failed = cell(row, 'n');
    body.append(row);
    body.f = f;
    body.head = row;
    return body;
  }

  function updateBranch(body, b) {
    const f = body.f;
    text(f.button.firstChild, b.name);
    const open = shown.has(b.name) ? shown.get(b.name) > 0 : b.total > 0;
    attr(f.button, 'aria-expanded', b.total ? open : null);
    f.button.disabled = !b.total;
    f.button.title = b.daemon ? b.daemon + (b.pid ? ', process ' + b.pid : '') : '';
    body.head.className = quietState(b.state) ? 'off' : '';
    const bad = !['running', 'off', 'idle', 'stopping', 'starting'].includes(b.state);
    state(f.state, b.state, bad, quietState(b.state));
    f.state.title = b.last_error || '';
    text(f.objects, b.objects ? b.objects.toLocaleString('en') + (b.lives.length ? ': ' + b.lives.map(l => l.n + ' ' + l.what).join(', ') : '') + (b.ailing ? `; ${b.ailing} in trouble` : '') : '');
    text(f.calls, rate(b.calls.per_second)); text(f.p50, time(b.calls.p50)); text(f.p99, time(b.calls.p99));
    if (points.some(p => p.b && p.b[b.name])) paths(f.spark, [p => p.b && p.b[b.name] && p.b[b.name][1], p => p.b && p.b[b.name] && p.b[b.name][2]], { log: true });
    else f.spark.replaceChildren();
    text(f.queue, b.depth ? `${b.depth}, ${time(b.age)}` : '');
    text(f.failed, b.restarts || '');
    const list = b.members.slice();
    const rows = [body.head, ...list.map(o => ({ o }))];
    const rest = b.total - list.length;
    if (rest > 0 && list.length + rest > 0 && (open || list.length)) rows.push({ rest });
    keyed(body, rows, r => r === body.head ? 'head' : r.o ? r.o.id : 'more',
      r => r === body.head ? body.head : r.o ? makeObject() : makeMore(b.name),
      (e, r) => { if (r.o) updateObject(e, r.o); else if (r !== body.head) updateMore(e, r.rest, list.length); });
  }

  function makeObject() {
    const row = make('tr', 'object');
    row.f = { kind: make('span', 'kind'), name: make('span', 'name'), state: make('span', 'state') };
    cell(row).append(row.f.kind, row.f.name);
    cell(row).append(row.f.state);
    row.f.life = cell(row, 'lives');
    row.f.rate = cell(row, 'n');
    row.f.note = cell(row, 'note'); row.f.note.colSpan = 3;
    row.f.queue = cell(row, 'n'); row.f.failed = cell(row, 'n');
    return row;
  }
  function updateObject(row, o) {
    const f = row.f;
    attr(row, 'data-id', o.id);
    text(f.kind, o.kind === 'object' ? '' : o.kind);
    text(f.name, o.name);
    f.name.title = o.id;
    state(f.state, o.ails && o.state === 'running' ? 'stuck' : o.state, o.ails);
    text(f.life, o.life || '');
    text(f.rate, o.rate ? rate(o.rate) + ' msg' : '');
    text(f.note, o.busy >= 0.05 && o.doing ? `in ${o.doing} for ${time(o.busy)}` : o.jobs ? 'job: ' + o.jobs : o.ails ? o.error || '' : '');
    text(f.queue, o.depth ? `${o.depth}, ${time(o.age)}` : '');
    text(f.failed, o.failed || '');
  }
  function makeMore(name) {
    const row = make('tr', 'more');
    const button = make('button', 'link');
    button.type = 'button';
    button.addEventListener('click', () => { shown.set(name, Math.max(100, (shown.get(name) || 0) + 200)); ask(); });
    const td = cell(row); td.colSpan = 9; td.append(button);
    return row;
  }
  function updateMore(row, rest, have) { text(row.firstChild.firstChild, (have ? 'and ' : '') + rest.toLocaleString('en') + (have ? ' more' : ' objects') + ' – show'); }

  function processes(v) {
    text($('processes-n'), v.processes.length);
    keyed($('processes').tBodies[0], v.processes, p => p.name, () => {
      const row = make('tr');
      row.f = { name: cell(row), pid: cell(row, 'n'), state: make('span', 'state'), rest: [] };
      cell(row).append(row.f.state);
      for (let i = 0; i < 8; i++) row.f.rest.push(cell(row, 'n'));
      return row;
    }, (row, p) => {
      const f = row.f;
      text(f.name, p.daemon + (p.name === 'root' ? ' (root)' : '')); text(f.pid, p.pid || '');
      state(f.state, p.state, p.state !== 'running');
      f.state.title = p.error || '';
      [(100 * p.cpu).toFixed(1) + '%', Math.round(p.wakeups), bytes(p.rss), p.clients, p.actors, p.goroutines, p.descriptors, time(p.uptime)].forEach((t, i) => text(f.rest[i], p.actors ? t : ''));
    });
  }

  function faults(v) {
    $('faults-none').hidden = v.troubles.length > 0;
    const now = Date.parse(v.at);
    const fresh = v.troubles.filter(t => known && !known.has(t.id));
    known = new Set(v.troubles.map(t => t.id));
    if (fresh.length) text($('news'), fresh.map(t => `${t.kind}: ${t.title || t.actor}: ${t.reason}`).join('. '));
    keyed($('faults'), v.troubles, t => t.id, t => {
      const li = make('li');
      li.f = { when: make('span', 'when'), kind: make('span', 'state'), who: make('span', 'who'), why: make('span', 'why'), where: make('span', 'where') };
      li.append(li.f.when, li.f.kind, li.f.who, li.f.why, li.f.where);
      if (t.stack) {
        const pre = make('pre');
        pre.tabIndex = 0;
        const d = make('details', '', make('summary', '', 'Stack'), pre);
        d.addEventListener('toggle', async () => {
          if (!d.open || pre.textContent) return;
          const r = await fetch('/stack?of=' + encodeURIComponent(t.id)).catch(() => null);
          pre.textContent = r && r.ok ? await r.text() : 'It cannot be had any more.';
        });
        li.append(d);
      }
      return li;
    }, (li, t) => {
      const f = li.f;
      const recent = now - Date.parse(t.at) < 60000;
      const cls = t.open || (recent && !t.over) ? 'fresh' : '';
      if (li.className !== cls) li.className = cls;
      text(f.when, clock(t.at));
      const kind = 'state ' + (t.open || recent ? 'bad' : 'warn');
      if (f.kind.className !== kind) f.kind.className = kind;
      text(f.kind, t.kind);
      text(f.who, t.title || t.actor);
      text(f.why, t.reason);
      text(f.where, [t.message && 'in ' + t.message, t.title && t.actor, `${t.process} (${t.pid})`, t.over && 'back at ' + clock(t.over)].filter(Boolean).join(' · '));
    });
  }

  // ---- asking --------------------------------------------------------------------------
  let source = null, last = 0, polling = null, retry = null;

  function query() {
    const q = new URLSearchParams();
    const f = $('filter').value.trim();
    if (f) q.set('q', f);
    for (const [name, n] of shown) q.append('show', `${name}:${f && n ? Math.max(n, 100) : n}`);
    if (points.length) q.set('since', points[points.length - 1].t);
    return q.toString();
  }
  function linked(cls, what) { $('link').className = cls; text($('link-text'), what); }
  function got(v) { last = Date.now(); draw(v); linked(source ? 'live' : 'slow', (source ? 'live, ' : 'asking, ') + clock(v.at)); }

  function ask() {
    clearTimeout(retry); retry = null;
    if (source) source.close();
    source = null;
    if (!window.EventSource) { poll(); return; }
    const s = source = new EventSource('/live?' + query());
    s.addEventListener('view', e => { if (s !== source) return; stopPolling(); got(JSON.parse(e.data)); });
    s.addEventListener('error', () => { if (s !== source) return; s.close(); source = null; poll(); retry = setTimeout(ask, 5000); });
  }
  function stopPolling() { clearTimeout(polling); polling = null; }
  async function poll() {
    stopPolling();
    try {
      const r = await fetch('/view?' + query());
      if (!r.ok) throw new Error(r.statusText);
      got(await r.json());
    } catch { linked('lost', last ? 'no answer since ' + clock(last) : 'no answer'); }
    if (!source) polling = setTimeout(poll, 2000);
  }
  // A stream that a proxy holds back looks open and says nothing.
  setInterval(() => { if (source && last && Date.now() - last > 10000) { source.close(); source = null; poll(); retry = retry || setTimeout(ask, 30000); } }, 2000);

  let typing = null;
  $('filter').addEventListener('input', () => { clearTimeout(typing); typing = setTimeout(ask, 200); });
  document.addEventListener('keydown', e => {
    if (e.key === '/' && document.activeElement !== $('filter')) { e.preventDefault(); $('filter').focus(); }
    if (e.key === 'Escape' && document.activeElement === $('filter')) { $('filter').value = ''; $('filter').blur(); ask(); }
  });
  ask();
})();
