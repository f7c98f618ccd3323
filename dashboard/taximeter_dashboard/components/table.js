// Server-driven table: Python owns order, filter and page; this draws the rows of one page, emits "sort".
const COLOUR = { cache: "var(--st-green-color)", cost: "var(--st-primary-color)", loop: "var(--st-violet-color)", error: "var(--st-red-color)" };
const warning = (text) => {
  const e = h("span", "ei", icon(12, { d: "M8 1.5 15 14H1z", "stroke-width": 1.7, "stroke-linejoin": "round" }, { d: "M8 6v4M8 11.3v1.2", "stroke-width": 1.7 }));
  e.title = text;
  e.setAttribute("role", "img");
  e.setAttribute("aria-label", text);
  return e;
};
const meter = (c, share) => {
  const bar = h("i"), e = h("span", `m ${c.align === "r" ? "" : "l"}`, bar);
  bar.style.width = `${Math.round(Math.max(0, Math.min(1, share)) * 100)}%`;
  e.style.setProperty("--c", COLOUR[c.color] || "");
  return e;
};
const trend = (values) => {
  const known = values.filter((v) => v != null), hi = Math.max(...known, 0) || 1, n = Math.max(values.length, 1);
  const e = shape("svg", { class: "sk", viewBox: `0 0 ${n * 3} 20`, preserveAspectRatio: "none", "aria-hidden": "true" });
  values.forEach((v, i) => { if (v) e.append(shape("rect", { x: i * 3, y: 20 - (v / hi) * 19, width: 2.2, height: (v / hi) * 19 })); });
  return e;
};
const mixture = (parts) => {
  const text = parts.map(([name, , , shown]) => `${name} ${shown}`).join(", "), e = h("span", "mx");
  e.title = text;
  e.setAttribute("role", "img");
  e.setAttribute("aria-label", text);
  e.append(...parts.map(([, share, color]) => { const i = h("i"); i.style.flexGrow = share; i.style.background = color; return i; }));
  return e;
};
const PAINT = {
  status: (c, v) => (v ? [warning(v)] : [h("span", "dot")]),
  main: (c, v) => [h("span", "mw", anchor("main", v[1], v[0]), v[3] ? h("span", "cov", v[3]) : null, v[2] ? h("span", "er", v[2]) : null)],
  meter: (c, v) => [v[0], v[1] == null ? null : meter(c, v[1])],
  trend: (c, v) => [trend(v)],
  parts: (c, v) => [mixture(v)],
  link: (c, v) => [v[1] ? anchor("lk", v[1], v[0]) : h("span", "", v[0])],
};
const cell = (c, v) => {
  const td = h("td", [c.align, c.hide, c.prio, c.type === "meter" ? "has-m" : c.type === "status" ? "st" : ""].filter(Boolean).join(" "));
  const kids = PAINT[c.type] ? PAINT[c.type](c, v) : [h("span", c.cls || "", Array.isArray(v) ? v[0] : v)];
  if (!PAINT[c.type]) td.title = Array.isArray(v) ? v[1] : v ?? "";
  td.append(...kids.filter((k) => k != null));
  return td;
};
const heading = (c, data, sort) => {
  const th = h("th", [c.align, c.hide].filter(Boolean).join(" "));
  th.scope = "col";
  if (!c.sort) { th.append(c.label || h("span", "vh", c.name || "Status")); return th; }
  th.setAttribute("aria-sort", data.sort === c.sort ? (data.desc ? "descending" : "ascending") : "none");
  const b = h("button", "", c.label, icon(9, { d: "M8 13 2 6h12z", fill: "currentColor", stroke: "none" }));
  b.type = "button";
  b.onclick = () => sort(c.sort);
  th.append(b);
  return th;
};
const STATE = new WeakMap();
const row = (r, i, cols) => {
  const tr = h("tr", "", ...cols.map((c, j) => cell(c, r.c[j])), h("td", "p3", r.sub));
  tr.tabIndex = i ? -1 : 0;
  tr.dataset.id = r.id;
  const main = () => tr.querySelector("a.main");
  tr.onclick = (e) => {
    if (!main()?.href) return;
    if (e.metaKey || e.ctrlKey || e.shiftKey) { if (!e.target.closest("a")) window.open(main().href, "_blank", "noopener"); return; }
    visit(main().getAttribute("href"));
  };
  tr.onkeydown = (e) => {
    const to = e.key === "ArrowDown" || e.key === "j" ? tr.nextElementSibling : e.key === "ArrowUp" || e.key === "k" ? tr.previousElementSibling : null;
    if (to) { to.tabIndex = 0; to.focus(); } else if (e.key === "Enter" && main()?.href) visit(main().getAttribute("href")); else return;
    e.preventDefault();
    e.stopPropagation();
  };
  return tr;
};
export default function (component) {
  const { data, parentElement, setTriggerValue } = component, w = host(parentElement, "lt");
  if (!STATE.has(parentElement)) {
    const ro = new ResizeObserver(() => w.classList.toggle("narrow", w.clientWidth < 620));
    ro.observe(w);
    STATE.set(parentElement, ro);
  }
  const { cols, rows, empty } = data;
  if (!rows.length) { w.replaceChildren(h("div", "empty", h("b", "", empty[0]), empty[1])); }
  else {
    const group = h("colgroup", "", ...cols.map((c) => { const e = h("col", c.hide || ""); e.style.width = c.width || "auto"; return e; }));
    const active = parentElement.getRootNode().activeElement?.dataset?.id;
    w.replaceChildren(h("table", "", group, h("thead", "", h("tr", "", ...cols.map((c) => heading(c, data, (s) => setTriggerValue("sort", s))))), h("tbody", "", ...rows.map((r, i) => row(r, i, cols)))));
    // A live refresh must not take the keyboard's place away.
    if (active) [...w.querySelectorAll("tbody tr")].find((tr) => tr.dataset.id === active)?.focus({ preventScroll: true });
  }
  return () => { STATE.get(parentElement)?.disconnect(); STATE.delete(parentElement); };
}
