// Static blocks of text: heading, facts, key-values, lists, small tables, notes. Every word is a text node.
const tag = (b) => h("span", `tag ${b.tone || ""}`, b.text);
const isWord = (text) => text.length <= 24 && !text.includes(" "); // a name is not broken in the middle
const BLOCK = {
  heading: (b) => h("div", "hd", b.back ? anchor("back", b.back.href, `← ${b.back.label}`) : null, h("h1", "", b.text), ...(b.badges || []).map(tag), h("span", "grow"), b.id ? h("code", "", b.id) : null),
  title: (b) => h("div", "tl", b.text ? h("span", "t", b.text) : null, ...(b.badges || []).map(tag), b.sub ? h("span", "sub", b.sub) : null),
  facts: (b) => h("div", "facts", ...b.items.map(([label, value, tone, href]) => h("div", "", h("span", "", label), h("b", tone || "", href ? anchor("lk", href, value) : value)))),
  kv: (b) => h("dl", "kv", ...b.items.flatMap(([label, value, tone]) => [h("dt", "", label), h("dd", tone || "", value)])),
  note: (b) => h("div", `note ${b.tone || ""}`, b.text),
  list: (b) => {
    const items = b.items.map((i) => {
      const body = h("span", "bd", h("span", "ln1", h("b", "", i.title), ...(i.badges || []).map(tag)), i.text ? h("span", "tx", i.text) : null);
      const kids = [h("i", `pin ${i.tone || ""}`), body, i.meta ? h("span", "meta", i.meta) : null];
      return i.href ? anchor("it", i.href, ...kids) : h("div", "it", ...kids);
    });
    return h("div", `list ${b.tone || ""}`, ...items);
  },
  grid: (b) => {
    const align = (i) => (b.cols[i].right ? "r" : "");
    const head = h("tr", "", ...b.cols.map((c, i) => h("th", align(i), c.label)));
    const cell = (v, i) => { const td = h("td", `${align(i)} ${isWord(v) ? "word" : ""}`, v); td.dataset.name = b.cols[i].label; return td; };
    const body = b.rows.map((r) => h("tr", "", ...r.map(cell)));
    const cls = `scroll ${b.phone === "list" ? "rows" : ""} ${b.cols.length > 5 ? "wide" : ""}`;
    const e = h("div", cls, h("table", "", h("thead", "", head), h("tbody", "", ...body)));
    e.tabIndex = 0; // by keyboard, too, one gets at what is beyond the right edge
    e.setAttribute("role", "group");
    e.setAttribute("aria-label", "Table");
    return e;
  },
};
// A fold that a person has touched keeps its state while they walk from span to span.
const FOLDS = new WeakMap();
BLOCK.step = (b, folds) => {
  const kids = [h("span", "ln1", h("i", `pin ${b.tone || ""}`), h("b", "", b.title), b.badge ? tag({ text: b.badge, tone: b.tone }) : null), h("span", "tx", b.text)];
  if (!b.inside.length) return h("div", "step", ...kids);
  const fold = h("summary", "", ...kids), d = h("details", "step", fold, ...b.inside.map((x) => BLOCK[x.type](x)));
  d.open = folds.get(b.key) ?? b.open;
  fold.addEventListener("click", () => folds.set(b.key, !d.open));
  return d;
};
BLOCK.verbatim = (b) => h("pre", "", b.text);
const LONG = 700;
// A text of a conversation: what is long shows its beginning and opens.
const said = (cls, text) => {
  if (text.length <= LONG) return h("div", `said ${cls}`, text);
  const d = h("details", `said ${cls}`, h("summary", "", h("span", "short", `${text.slice(0, LONG / 2)}…`), h("span", "opens")), text);
  return d;
};
BLOCK.turn = (b) => {
  const cls = b.code ? "code" : "";
  const head = h("div", "ln1", h("b", "", b.who), ...b.badges.map(tag), h("span", "grow"), anchor("lk meta", b.href, b.meta));
  return h("div", `turn ${b.role === "user" || b.role === "system" || b.role === "tool" ? b.role : "assistant"}`, head, b.given ? said("code given", b.given) : null, b.text ? said(cls, b.text) : null);
};
export default function (component) {
  const { data, parentElement } = component;
  const sheet = host(parentElement, "sh");
  if (!FOLDS.has(sheet)) FOLDS.set(sheet, new Map());
  sheet.replaceChildren(...data.blocks.map((b) => BLOCK[b.type](b, FOLDS.get(sheet))));
}
