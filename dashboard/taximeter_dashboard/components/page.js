// Draws nothing: tells whether the browser's tab is hidden (Streamlit's own timers go on in one), and that help is
// asked for with ?; / goes to the page's search.
const WATCHED = new WeakSet();
const SEARCH = '.stMainBlockContainer input[type="search"], .stMainBlockContainer [class*="st-key-q"] input';
const isTyping = (e) => e.composedPath().some((t) => /^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName) || t.isContentEditable);
export default function (component) {
  const { parentElement, setStateValue, setTriggerValue } = component;
  const tell = () => setStateValue("hidden", document.hidden);
  const press = (e) => {
    if (e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || isTyping(e)) return;
    const search = e.key === "/" ? document.querySelector(SEARCH) : null;
    if (search) search.focus();
    else if (e.key === "?") setTriggerValue("help", true);
    else return;
    e.preventDefault();
  };
  if (!WATCHED.has(parentElement)) {
    WATCHED.add(parentElement);
    document.addEventListener("visibilitychange", tell);
    document.addEventListener("keydown", press);
  }
  return () => {
    document.removeEventListener("visibilitychange", tell);
    document.removeEventListener("keydown", press);
    WATCHED.delete(parentElement);
  };
}
