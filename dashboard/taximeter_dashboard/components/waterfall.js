// Trace waterfall: virtual rows of a tree and a time line. In: columnar arrays with their texts. Out: state "selected".
const KINDS = { agent: ["Agent", 3], workflow: ["Workflow", 7], llm: ["LLM", 0], embedding: ["Embedding", 4], tool: ["Tool", 1], retriever: ["Retrieval", 4], reranker: ["Rerank", 4], guardrail: ["Guardrail", 5], memory: ["Memory", 6], chain: ["Chain", 7], step: ["Step", 7], other: ["Other", 7] };
const GROUPS = new Set(["agent", "workflow", "chain", "step"]);
const ARROW = { d: "M2 8h12M9 3l5 5-5 5", "stroke-width": 2 };
const LENS = [{ tag: "circle", cx: 7, cy: 7, r: 4.5, "stroke-width": 2 }, { d: "M10.5 10.5 15 15", "stroke-width": 2 }];
const ICONS = {
  agent: [{ d: "M8 1.5 14 5v6l-6 3.5L2 11V5z", "stroke-width": 2 }],
  llm: [{ d: "M8 1l1.7 4.6L14.5 8l-4.8 2.4L8 15l-1.7-4.6L1.5 8l4.8-2.4z", fill: "currentColor", stroke: "none" }],
  tool: [{ d: "M10.5 1.6a4 4 0 0 0-3.6 5.5L1.8 12.2l2 2 5.1-5.1a4 4 0 0 0 5.3-4.6l-2.5 2.4-2.2-.6-.6-2.2 2.4-2.4a4 4 0 0 0-.8-.1z", fill: "currentColor", stroke: "none" }],
  retriever: LENS, reranker: LENS, embedding: LENS,
};
const NB = "\u202f";
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 18e4, 24e4, 3e5, 6e5, 18e5, 36e5, 72e5, 216e5, 864e5];
const tick = (t) => t === 0 ? "0" : t < 1e3 ? `${+t.toFixed(2)}${NB}ms` : t < 6e4 ? `${+(t / 1e3).toFixed(1)}${NB}s` : `${Math.floor(t / 6e4)}m${t % 6e4 ? ` ${String(Math.round((t / 1e3) % 60)).padStart(2, "0")}s` : ""}`;
const button = (cls, label, ...kids) => { const b = h("button", cls, ...kids); b.type = "button"; if (label) { b.title = label; b.setAttribute("aria-label", label); } return b; };
const styled = (e, style) => { Object.assign(e.style, style); return e; };

class Waterfall {
  constructor(parent) {
    this.off = new Set(); this.kindsOff = new Set(); this.errOnly = false; this.text = ""; this.win = null; this.sel = null;
    this.w = h("div", "wf"); parent.appendChild(this.w);
    this.bar = h("div", "bar"); this.cv = h("canvas"); this.winEl = h("div", "win"); this.winEl.hidden = true; this.mini = h("div", "mini", this.cv, this.winEl);
    this.head = h("div", "head"); this.pad = h("div", "pad"); this.vp = h("div", "vp", this.pad); this.vp.tabIndex = 0;
    this.vp.setAttribute("role", "treegrid"); this.vp.setAttribute("aria-label", "Trace waterfall");
    const keys = [[["↑", "↓"], "move"], [["←", "→"], "collapse"], [["e"], "next error"], [["/"], "search"]].map(([k, t]) => h("span", "", ...k.flatMap((x) => [h("kbd", "", x), " "]), t));
    this.foot = h("div", "foot", ...keys, h("span", "", "drag the overview to zoom · double-click to reset"));
    this.w.append(this.bar, this.mini, this.head, this.vp, this.foot);
    this.vp.onscroll = () => this.paint(); this.vp.onkeydown = (e) => this.key(e);
    this.pad.onclick = (e) => { const r = e.target.closest(".row"); if (!r) return; e.target.closest(".tw") ? this.toggle(+r.dataset.i) : this.select(+r.dataset.i); };
    this.mini.onpointerdown = (e) => this.drag(e); this.mini.ondblclick = () => this.zoom(null);
    this.ro = new ResizeObserver(() => { this.narrow = this.w.clientWidth < 640; this.w.classList.toggle("narrow", this.narrow); this.layout(); }); this.ro.observe(this.w);
  }
  destroy() { this.ro.disconnect(); }
  drag(e) {
    const r = this.mini.getBoundingClientRect(), x0 = e.clientX, at = (x) => Math.min(1, Math.max(0, (x - r.left) / r.width)) * this.total;
    this.mini.setPointerCapture(e.pointerId);
    this.mini.onpointermove = (m) => { const a = at(Math.min(x0, m.clientX)), b = at(Math.max(x0, m.clientX)); if (Math.abs(m.clientX - x0) > 3) this.zoom(a, Math.max(b, a + this.total / 2000)); };
    this.mini.onpointerup = () => { this.mini.onpointermove = null; };
  }
  update(d) {
    const first = d.v !== this.v; this.h = d.height || 560;
    if (first) { this.v = d.v; this.build(d.cols); }
    if (d.selected != null) { const i = this.c.id.indexOf(d.selected); if (i >= 0) this.sel = i; }
    this.refresh();
    if (first) { this.vp.scrollTop = 0; if (this.sel != null) this.reveal(this.sel); }
  }
  build(c) {
    const n = (this.n = c.id.length); this.c = c; this.off.clear(); this.win = null; this.winEl.hidden = true; this.sel = null;
    const at = new Map(c.id.map((x, i) => [x, i])); this.kids = Array.from({ length: n }, () => []); this.par = new Int32Array(n).fill(-1);
    const roots = [];
    for (let i = 0; i < n; i++) { const p = at.get(c.parent[i]); if (p === undefined || p === i) roots.push(i); else { this.par[i] = p; this.kids[p].push(i); } }
    this.order = []; this.depth = new Int16Array(n); this.cnt = new Int32Array(n);
    const stack = roots.reverse().map((r) => [r, 0]);
    while (stack.length) { const [i, dep] = stack.pop(); this.depth[i] = dep; this.order.push(i); for (let k = this.kids[i].length - 1; k >= 0; k--) stack.push([this.kids[i][k], dep + 1]); }
    for (let k = this.order.length - 1; k >= 0; k--) { const i = this.order[k], p = this.par[i]; if (p >= 0) this.cnt[p] += this.cnt[i] + 1; }
    this.total = Math.max(...c.off.map((o, i) => o + c.dur[i]), 1); this.present = Object.keys(KINDS).filter((k) => c.kind.includes(k)); this.nerr = c.st.filter(Boolean).length;
    this.toolbar();
  }
  color(k) { const a = getComputedStyle(this.w).getPropertyValue("--st-chart-categorical-colors").split(","); return (a[KINDS[k]?.[1] ?? 7] || "#7b8494").trim(); }
  chip(cls, label, count, pressed, flip) { const x = button(`chip ${cls}`, "", h("i"), `${label} `, h("b", "", String(count))); x.setAttribute("aria-pressed", String(pressed)); x.onclick = () => { x.setAttribute("aria-pressed", String(flip())); this.refresh(); }; return x; }
  toolbar() {
    const s = (this.search = h("input")); s.type = "search"; s.placeholder = "Filter spans"; s.setAttribute("aria-label", "Filter spans");
    s.oninput = () => { this.text = s.value.toLowerCase(); this.refresh(); };
    s.onkeydown = (e) => { if (e.key === "Escape") { s.value = ""; this.text = ""; this.refresh(); this.vp.focus(); } e.stopPropagation(); };
    const chips = this.present.map((k) => { const x = this.chip("", KINDS[k][0], this.c.kind.filter((q) => q === k).length, true, () => { const was = this.kindsOff.delete(k); if (!was) this.kindsOff.add(k); return was; }); x.dataset.k = k; return x; });
    if (this.nerr) chips.push(this.chip("err", "Errors", this.nerr, false, () => (this.errOnly = !this.errOnly)));
    const c = button("btn", "Collapse all", icon(15, { d: "M3 6h10M3 10h10M8 1v3M6.5 2.8 8 4.2l1.5-1.4M8 15v-3M6.5 13.2 8 11.8l1.5 1.4", "stroke-width": 1.4 })), e = button("btn", "Expand all", icon(15, { d: "M3 6.5h10M3 9.5h10M8 4.6V1.4M6.5 2.8 8 1.4l1.5 1.4M8 11.4v3.2M6.5 13.2 8 14.6l1.5-1.4", "stroke-width": 1.4 }));
    c.onclick = () => { for (let i = 0; i < this.n; i++) if (this.kids[i].length && this.depth[i] >= 1) this.off.add(i); this.refresh(); };
    e.onclick = () => { this.off.clear(); this.refresh(); };
    this.bar.replaceChildren(s, ...chips, h("span", "grow"), h("span", "both", c, e));
  }
  match(i) { const c = this.c; return !this.kindsOff.has(c.kind[i]) && (!this.errOnly || c.st[i]) && (!this.text || `${c.label[i]} ${c.name[i]}`.toLowerCase().includes(this.text) || (c.err[i] || "").toLowerCase().includes(this.text)); }
  refresh() {
    const filtered = this.kindsOff.size || this.errOnly || this.text, keep = filtered ? new Uint8Array(this.n) : null; this.hit = filtered ? new Uint8Array(this.n) : null;
    if (filtered) for (let i = 0; i < this.n; i++) if (this.match(i)) { this.hit[i] = 1; keep[i] = 1; for (let p = this.par[i]; p >= 0 && !keep[p]; p = this.par[p]) keep[p] = 1; }
    this.vis = []; let skip = -1;
    for (const i of this.order) { if (skip >= 0) { if (this.depth[i] > skip) continue; skip = -1; } if (keep && !keep[i]) continue; this.vis.push(i); if (this.off.has(i)) skip = this.depth[i]; }
    this.colors = Object.fromEntries(Object.keys(KINDS).map((k) => [k, this.color(k)]));
    this.w.querySelectorAll(".chip[data-k]").forEach((x) => x.style.setProperty("--k", this.colors[x.dataset.k])); this.layout();
  }
  layout() { if (!this.c) return; const rh = (this.rh = this.narrow ? 46 : 28); this.pad.style.height = `${Math.max(this.vis.length * rh, 60)}px`; this.vp.style.height = `${Math.min(this.h, Math.max(this.vis.length * rh + 2, 120))}px`; this.axis(); this.paint(); this.drawMini(); }
  axis() {
    const [a, b] = this.win || [0, this.total], W = Math.max((this.w.clientWidth || 900) * 0.64 - 186, 160), want = (b - a) / Math.max(2, Math.floor(W / 78)), step = STEPS.find((s) => s >= want) || want;
    this.lines = []; const marks = [];
    for (let t = Math.ceil(a / step) * step; t < b; t += step) { const left = ((t - a) / (b - a)) * 100; this.lines.push(left); marks.push(styled(h("span", "", tick(t)), { left: `${left}%` })); }
    this.head.replaceChildren(h("div", "", "Span"), h("div", "num", "Cost"), h("div", "num", "Tokens in → out"), h("div", "axis", ...marks));
  }
  zoom(a, b) { this.win = a == null ? null : [a, b]; this.winEl.hidden = !this.win; if (this.win) styled(this.winEl, { left: `${(a / this.total) * 100}%`, width: `${((b - a) / this.total) * 100}%` }); this.axis(); this.paint(); }
  paint() {
    if (!this.vis) return;
    if (!this.vis.length) { this.pad.replaceChildren(h("div", "empty", "No span matches this filter.")); return; }
    const top = this.vp.scrollTop, H = this.vp.clientHeight || this.h, from = Math.max(0, Math.floor(top / this.rh) - 6), to = Math.min(this.vis.length, Math.ceil((top + H) / this.rh) + 6), rows = [];
    for (let k = from; k < to; k++) rows.push(this.row(this.vis[k], k));
    this.pad.replaceChildren(...rows);
  }
  row(i, k) {
    const c = this.c, kd = c.kind[i], has = this.kids[i].length > 0, open = has && !this.off.has(i);
    const r = h("div", `row${this.hit && !this.hit[i] ? " dim" : ""}`, this.nameCell(i, has, open), this.costCell(i), this.tokenCell(i), this.track(i, has && GROUPS.has(kd)));
    r.setAttribute("role", "row"); r.dataset.i = i; r.style.top = `${k * this.rh}px`; r.style.setProperty("--k", this.colors[kd] || this.colors.other); r.setAttribute("aria-level", this.depth[i] + 1); r.setAttribute("aria-selected", String(this.sel === i)); if (has) r.setAttribute("aria-expanded", String(open));
    return r;
  }
  nameCell(i, has, open) {
    const c = this.c, kd = c.kind[i], e = h("div", "name"), t = h("span", `t${GROUPS.has(kd) ? " ag" : ""}`, c.label[i]); e.setAttribute("role", "gridcell"); t.title = c.name[i];
    for (let g = Math.min(this.depth[i], 8); g > 0; g--) e.append(h("span", "g"));
    if (has) { const tw = button(`tw${open ? " open" : ""}`, "", icon(12, { d: "M6 4l4.5 4L6 12", "stroke-width": 1.8 })); tw.tabIndex = -1; tw.setAttribute("aria-label", open ? "Collapse" : "Expand"); e.append(tw); } else e.append(h("span", "tw0"));
    const ic = h("span", "ic", icon(11, ...(ICONS[kd] || [ARROW]))); ic.title = KINDS[kd]?.[0] || kd; e.append(ic, t);
    if (has && !open) e.append(h("span", "cnt", `+${this.cnt[i]}`));
    if (c.repeat[i]) { const x = h("span", "rep", `↻ ${c.repeat[i]}`); x.title = "the same tool call again"; e.append(x); }
    if (c.st[i]) e.append(h("span", "bad", c.err[i] || "error"));
    return e;
  }
  costCell(i) { const c = this.c, e = h("div", "cost", h("span", c.own[i] ? "" : "sum", c.costText[i])); e.setAttribute("role", "gridcell"); if (c.own[i] > 0) e.append(h("s", "", styled(h("i"), { width: `${Math.max(3, c.own[i] * 100)}%` }))); return e; }
  tokenCell(i) { const c = this.c, e = h("div", "tok", c.tokens[i]); e.setAttribute("role", "gridcell"); if (c.cached[i] != null) e.append(h("s", "", styled(h("i"), { width: `${c.cached[i] * 100}%` }))); return e; }
  track(i, group) {
    const c = this.c, [a, b] = this.win || [0, this.total], x = ((c.off[i] - a) / (b - a)) * 100, wd = (c.dur[i] / (b - a)) * 100, right = x + wd, e = h("div", "track");
    e.setAttribute("role", "gridcell");
    if (!this.narrow) e.append(...this.lines.map((l) => styled(h("em", "gl"), { left: `${l}%` })));
    const label = h("span", "lb", c.durText[i]);
    if (right > 86) label.style.right = `calc(${100 - x}% + 5px)`; else label.style.left = `calc(${Math.max(right, 0)}% + 6px)`;
    if (right > 86 && x < 14) { label.style.right = "6px"; label.classList.add("in"); }
    e.append(styled(h("div", `b${group ? " group" : ""}${c.st[i] && !group ? " er" : ""}`), { left: `${x}%`, width: `max(${wd}%, 2px)` }));
    if (!(group && right > 86 && x < 14)) e.append(label);
    return e;
  }
  drawMini() {
    const r = this.mini.getBoundingClientRect(), dpr = window.devicePixelRatio || 1; if (!r.width || !this.c) return;
    this.cv.width = r.width * dpr; this.cv.height = r.height * dpr;
    const g = this.cv.getContext("2d"), n = this.vis.length, hh = Math.max(1, Math.min(3, (r.height - 8) / n)), red = getComputedStyle(this.w).getPropertyValue("--st-red-color").trim(); g.scale(dpr, dpr);
    this.vis.forEach((i, k) => { const group = GROUPS.has(this.c.kind[i]); g.globalAlpha = group ? 0.35 : 0.9; g.fillStyle = this.c.st[i] && !group ? red : this.colors[this.c.kind[i]] || "#888"; g.fillRect((this.c.off[i] / this.total) * r.width, 4 + (k / Math.max(n, 1)) * (r.height - 8), Math.max(1, (this.c.dur[i] / this.total) * r.width), hh); });
  }
  toggle(i) { if (!this.off.delete(i)) this.off.add(i); this.refresh(); }
  select(i) { this.sel = i; this.paint(); this.vp.focus({ preventScroll: true }); clearTimeout(this.t); this.t = setTimeout(() => this.emit("selected", this.c.id[i]), 60); }
  reveal(i) { const k = this.vis.indexOf(i); if (k < 0) return; const y = k * this.rh, H = this.vp.clientHeight; if (y < this.vp.scrollTop) this.vp.scrollTop = y; else if (y + this.rh > this.vp.scrollTop + H) this.vp.scrollTop = y + this.rh - H; }
  go(j) { const i = this.vis[Math.max(0, Math.min(this.vis.length - 1, j))]; if (i === undefined) return; this.reveal(i); this.select(i); }
  nextError(k) { for (let j = 1; j <= this.vis.length; j++) { const q = (Math.max(k, 0) + j) % this.vis.length; if (this.c.st[this.vis[q]]) { this.go(q); return; } } }
  fold(i, k) { if (i == null) return; if (this.kids[i].length && !this.off.has(i)) this.toggle(i); else if (this.par[i] >= 0) this.go(this.vis.indexOf(this.par[i])); }
  unfold(i, k) { if (i == null) return; if (this.off.has(i)) this.toggle(i); else if (this.kids[i].length) this.go(k + 1); }
  key(e) {
    const k = this.vis.indexOf(this.sel), down = () => this.go(k + 1), up = () => this.go(k - 1);
    const act = { ArrowDown: down, j: down, ArrowUp: up, k: up, PageDown: () => this.go(k + 15), PageUp: () => this.go(k - 15), Home: () => this.go(0), End: () => this.go(Infinity), ArrowLeft: () => this.fold(this.sel, k), ArrowRight: () => this.unfold(this.sel, k), e: () => this.nextError(k), "/": () => this.search.focus() }[e.key];
    if (!act || e.metaKey || e.ctrlKey) return;
    act(); e.preventDefault(); e.stopPropagation();
  }
}
const INSTANCES = new WeakMap();
export default function (component) {
  const { data, parentElement, setStateValue } = component;
  let w = INSTANCES.get(parentElement);
  if (!w) INSTANCES.set(parentElement, (w = new Waterfall(parentElement)));
  w.emit = (k, v) => setStateValue(k, v);
  w.update(data);
  return () => { w.destroy(); w.w.remove(); INSTANCES.delete(parentElement); };
}
