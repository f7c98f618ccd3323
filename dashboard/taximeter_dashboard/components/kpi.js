// Headline numbers: value, change against the previous period, sparkline with the previous period dashed, link.
const Y0 = 40, RISE = 34;
const bounds = (k) => {
  const all = [...k.spark, ...(k.prev || [])].filter((v) => v != null);
  return { all, hi: Math.max(...all, 0), lo: k.zero ? 0 : Math.min(...all) };
};
const y = (v, b) => Y0 - ((v - b.lo) / (b.hi - b.lo || 1)) * RISE;
const path = (values, b) => {
  const n = Math.max(values.length - 1, 1);
  let d = "", pen = false;
  values.forEach((v, i) => {
    if (v == null) { pen = false; return; }
    const x = ((i / n) * 100).toFixed(2);
    // A lone point gets a dot: a line of no length with round ends.
    d += pen ? `L${x},${y(v, b).toFixed(2)}` : `M${x},${y(v, b).toFixed(2)}h0.01`;
    pen = true;
  });
  return d;
};
const area = (values, b) => {
  const n = Math.max(values.length - 1, 1);
  let d = "", from = null, last = null;
  const close = () => { if (from != null) d += `L${last},44L${from},44Z`; from = null; };
  values.forEach((v, i) => {
    const x = ((i / n) * 100).toFixed(2);
    if (v == null) { close(); return; }
    d += `${from == null ? "M" : "L"}${x},${y(v, b).toFixed(2)}`;
    if (from == null) from = x;
    last = x;
  });
  close();
  return d;
};
const sparkline = (k) => {
  const b = bounds(k), box = h("span", "sp");
  if (b.all.length < 2) return box;
  const e = shape("svg", { viewBox: "0 0 100 44", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (k.prev) e.append(shape("path", { class: "pv", d: path(k.prev, b) }));
  e.append(shape("path", { class: "ar", d: area(k.spark, b) }), shape("path", { class: "ln", d: path(k.spark, b) }));
  box.append(e);
  return box;
};
const change = (k) => {
  const b = h("b", k.tone || "");
  if (k.dir) {
    const turn = h("span", "tr");
    turn.style.transform = `rotate(${k.dir > 0 ? 0 : 180}deg)`;
    turn.append(icon(9, { d: "M8 1.5 14 9H10v5.5H6V9H2z", fill: "currentColor", stroke: "none" }));
    b.append(turn);
  }
  b.append(k.delta || k.still);
  return h("span", "d", b, h("span", "", k.note || ""), k.badge ? h("em", "cov low", k.badge) : null);
};
const readout = (card, k, times) => {
  const box = card.querySelector(".sp"), b = bounds(k);
  let mark = null, tip = null;
  card.onpointermove = (ev) => {
    const r = box.getBoundingClientRect(), n = k.spark.length;
    const i = Math.max(0, Math.min(n - 1, Math.round(((ev.clientX - r.left) / r.width) * (n - 1))));
    if (k.spark[i] == null) return;
    if (!mark) {
      mark = h("span", "x", h("i"));
      tip = h("span", "tip", "", h("b"));
      tip.prepend("");
      box.append(mark);
      card.append(tip);
    }
    mark.style.left = `${(i / Math.max(n - 1, 1)) * 100}%`;
    mark.firstChild.style.top = `${y(k.spark[i], b) - 3.5}px`;
    tip.replaceChildren(`${times[i]} `, h("b", "", k.text[i]));
  };
  card.onpointerleave = () => { mark?.remove(); tip?.remove(); mark = tip = null; };
};
export default function (component) {
  const { data, parentElement } = component, box = host(parentElement, "ks");
  box.classList.toggle("four", data.items.length === 4); // two by two rather than three and one
  box.replaceChildren(...data.items.map((k) => {
    const card = anchor("k", k.href,
      h("span", "l", h("i"), k.label, k.badge ? h("em", "cov", k.badge) : null, h("span", "go", "→")),
      h("span", "v", k.value, k.unit ? h("small", "", k.unit) : null), change(k), sparkline(k));
    card.style.setProperty("--c", k.color);
    card.setAttribute("aria-label", `${k.label} ${k.value}, ${k.delta || k.still} ${k.note || ""}`);
    card.dataset.metric = k.metric;
    readout(card, k, data.times);
    return card;
  }));
}
