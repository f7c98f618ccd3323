// Shared by every component (put in front of its file). Text from data becomes text nodes, never markup.
const h = (tag, cls, ...kids) => {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  e.append(...kids.filter((k) => k != null && k !== false && k !== ""));
  return e;
};
const NS = "http://www.w3.org/2000/svg";
const shape = (tag, attributes) => {
  const e = document.createElementNS(NS, tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  return e;
};
const icon = (size, ...shapes) => {
  const e = shape("svg", { viewBox: "0 0 16 16", width: size, height: size, "aria-hidden": "true" });
  e.append(...shapes.map((s) => shape(s.tag || "path", { fill: "none", stroke: "currentColor", ...s, tag: "" })));
  return e;
};
const visit = (href) => {
  history.pushState(null, "", href);
  window.dispatchEvent(new PopStateEvent("popstate", { state: null }));
};
// A link inside the running session: one history entry, no reload. Only paths of our own are taken.
const anchor = (cls, href, ...kids) => {
  const a = h("a", cls, ...kids);
  if (typeof href === "string" && href.startsWith("/") && !href.startsWith("//")) {
    a.href = href;
    a.addEventListener("click", (e) => {
      if (e.metaKey || e.ctrlKey || e.shiftKey || e.button) return;
      e.preventDefault();
      e.stopPropagation();
      visit(href);
    });
  }
  return a;
};
const host = (parent, cls) => {
  let e = [...parent.children].find((child) => child.classList.contains(cls));
  if (!e) parent.appendChild((e = h("div", cls)));
  return e;
};
