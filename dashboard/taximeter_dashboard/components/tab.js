// Draws nothing: tells whether the browser's tab is hidden. Streamlit's own timers go on in a hidden tab.
const WATCHED = new WeakSet();
export default function (component) {
  const { parentElement, setStateValue } = component;
  const tell = () => setStateValue("hidden", document.hidden);
  if (!WATCHED.has(parentElement)) {
    WATCHED.add(parentElement);
    document.addEventListener("visibilitychange", tell);
  }
  return () => { document.removeEventListener("visibilitychange", tell); WATCHED.delete(parentElement); };
}
