// Keeps a page up to date: the server says that something changed, the page is fetched anew, and the parts that are
// marked data-live are exchanged. Without script, or without the stream, the page stays as it is and can be reloaded.
(() => {
  "use strict";
  const toEnd = () => document.querySelectorAll("[data-end]").forEach((box) => { box.scrollTop = box.scrollHeight; });
  toEnd();
  const watch = document.body.dataset.watch;
  const pulse = document.getElementById("pulse");
  if (!watch || !pulse || !window.EventSource) return;

  const announce = document.getElementById("announce");
  const said = () => document.querySelector("[data-say]")?.dataset.say ?? "";
  let before = said(), busy = false, again = false, waiting = false;

  const tell = (text, on) => {
    if (pulse.textContent !== text) pulse.textContent = text;
    pulse.classList.toggle("on", on);
  };

  const exchange = (old, fresh) => {
    const opened = [...old.querySelectorAll("details")].map((item) => [item.id, item.open]);
    const sideways = [...old.querySelectorAll(".scroll")].map((item) => item.scrollLeft);
    const focus = old.contains(document.activeElement) ? document.activeElement : null;
    const place = focus ? [...old.querySelectorAll("a, [tabindex]")].indexOf(focus) : -1;
    const href = focus?.getAttribute("href");
    old.replaceChildren(...fresh.childNodes);
    old.dataset.say = fresh.dataset.say ?? "";
    for (const [id, open] of opened) if (id && document.getElementById(id)) document.getElementById(id).open = open;
    old.querySelectorAll(".scroll").forEach((item, index) => { item.scrollLeft = sideways[index] ?? 0; });
    if (focus) {
      const items = [...old.querySelectorAll("a, [tabindex]")];
      const same = items[place]?.getAttribute("href") === href ? items[place] : items.find((item) => href && item.getAttribute("href") === href);
      (same ?? document.getElementById("main")).focus({ preventScroll: true });
    }
  };

  const refresh = async () => {
    if (document.hidden) { waiting = true; return; }
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const old of document.querySelectorAll("[data-live]")) {
        const fresh = page.getElementById(old.id);
        if (fresh && fresh.innerHTML !== old.innerHTML) exchange(old, fresh);
      }
      toEnd();
      if (said() !== before) { before = said(); announce.textContent = before; }
      tell("live", true);
    } catch {
      tell("not live; trying again", false);
    } finally {
      busy = false;
      if (again) { again = false; refresh(); }
    }
  };

  const stream = new EventSource("/events?watch=" + encodeURIComponent(watch));
  stream.addEventListener("open", () => tell("live", true));
  stream.addEventListener("changed", refresh);
  stream.addEventListener("error", () => tell("not live; trying again", false));
  document.addEventListener("visibilitychange", () => { if (!document.hidden && waiting) { waiting = false; refresh(); } });
})();
