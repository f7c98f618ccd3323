// Static blocks of text: heading, facts, key-values, lists, small tables, notes. Every word is a text node.
const tag = (b) => h("span", `tag ${b.tone || ""}`, b.text);
const BLOCK = {
  heading: (b) => h("div", "hd", b.back ? anchor("back", b.back.href, `← ${b.back.label}`) : null, h("h1", "", b.text), ...(b.badges || []).map(tag), h("span", "grow"), b.id ? h("code", "", b.id) : null),
  title: (b) => h("div", "tl", h("span", "t", b.text), ...(b.badges || []).map(tag), b.sub ? h("span", "sub", b.sub) : null),
  facts: (b) => h("div", "facts", ...b.items.map(([label, value, tone]) => h("div", "", h("span", "", label), h("b", tone || "", value)))),
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
    const body = b.rows.map((r) => h("tr", "", ...r.map((v, i) => h("td", align(i), v))));
    return h("div", "scroll", h("table", "", h("thead", "", head), h("tbody", "", ...body)));
  },
};
export default function (component) {
  const { data, parentElement } = component;
  host(parentElement, "sh").replaceChildren(...data.blocks.map((b) => BLOCK[b.type](b)));
}
