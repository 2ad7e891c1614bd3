// Keeps what is shown up to date. Every page works without it: forms are sent, pages are reloaded.
"use strict";
(() => {
  // --- Times -------------------------------------------------------------------------------------
  // As `view::length` on the server.
  const length = (ms) => {
    const s = Math.max(0, Math.floor(ms / 1000));
    const m = Math.floor(s / 60), h = Math.floor(s / 3600), d = Math.floor(s / 86400);
    const two = (a, unit, b, small) => (b === 0 ? `${a} ${unit}` : `${a} ${unit} ${b} ${small}`);
    if (m === 0) return `${s} s`;
    if (h === 0) return `${m} min`;
    if (d === 0) return two(h, "h", m % 60, "min");
    return d < 7 ? two(d, "d", h % 24, "h") : `${d} d`;
  };
  // The server's clock, as far as the page tells: a browser's may be wrong.
  const told = Number(document.documentElement.dataset.now);
  const ahead = told ? told - Date.now() : 0;
  const now = () => Date.now() + ahead;
  const set = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };
  const tick = () => {
    for (const time of document.querySelectorAll("time[data-relative]")) {
      const away = Date.parse(time.dateTime) - now();
      const text = length(Math.abs(away));
      set(time, text === "0 s" ? "now" : away > 0 ? `in ${text}` : `${text} ago`);
    }
    for (const bar of document.querySelectorAll(".countdown")) {
      const start = Number(bar.dataset.start), end = Number(bar.dataset.end);
      const left = end - now();
      const share = end > start ? Math.min(1000, Math.max(0, Math.floor((left * 1000) / (end - start)))) : 0;
      bar.querySelector(".bar-fill").setAttribute("width", String(share));
      const level = share === 0 ? "none" : share < 100 ? "low" : "some";
      bar.querySelector(".bar").setAttribute("class", `bar bar-${level}`);
      set(bar.querySelector(".countdown-text"), left > 0 ? `${length(left)} left` : "over");
    }
  };
  tick();
  setInterval(tick, 1000);

  // --- Live parts --------------------------------------------------------------------------------
  // Puts each element with an id in the place of the one that has it. What somebody is writing in,
  // or has the focus in, stays as it is until they are done.
  const put = (html) => {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    for (const part of fresh.body.querySelectorAll(":scope > [id]")) {
      const old = document.getElementById(part.id);
      if (!old || old.isEqualNode(part)) continue;
      if (old.querySelector("input:focus, select:focus, textarea:focus, input:checked:not([data-default])")) continue;
      const focused = old.contains(document.activeElement) ? document.activeElement : null;
      const open = [...old.querySelectorAll("details[open][id]")].map((details) => details.id);
      old.replaceWith(document.adoptNode(part));
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      if (focused?.id) document.getElementById(focused.id)?.focus();
    }
    tick();
  };
  const state = (text, tone) => {
    const shown = document.getElementById("live-state");
    if (!shown) return;
    set(shown, text);
    shown.dataset.tone = tone;
  };
  if (document.body.dataset.live && window.EventSource) {
    const source = new EventSource(document.body.dataset.live);
    // A page that is left may be kept with all its connections, of which a browser has six.
    addEventListener("pagehide", () => source.close());
    addEventListener("pageshow", (event) => event.persisted && location.reload());
    source.addEventListener("open", () => state("live", "ok"));
    source.addEventListener("parts", (event) => put(event.data));
    source.addEventListener("over", () => location.reload());
    source.addEventListener("error", () => {
      state("not live", "warn");
      // Refused, not broken off: nobody is signed in any more, or there are too many.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 15000);
    });
  }

  // --- Forms -------------------------------------------------------------------------------------
  // A form is sent once, however often its button is pressed.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
    setTimeout(() => delete form.dataset.sent, 5000);
  });
  // One box for all boxes of a form: `data-all="name"`.
  document.addEventListener("change", (event) => {
    const all = event.target.dataset?.all;
    if (!all) return;
    const boxes = event.target.closest("form").querySelectorAll(`input[type=checkbox][name="${CSS.escape(all)}"]`);
    for (const box of boxes) box.checked = event.target.checked;
  });
  // A form with `data-preview="/path" data-preview-into="id"` shows, while it is written in, what
  // the path answers to what it says so far.
  for (const form of document.querySelectorAll("form[data-preview]")) {
    let waiting = 0, asked = 0;
    const ask = async () => {
      const mine = ++asked;
      const answer = await fetch(form.dataset.preview, { method: "POST", body: new URLSearchParams(new FormData(form)) })
        .catch(() => null);
      // An older answer that comes late says nothing any more.
      if (!answer?.ok || mine !== asked) return;
      const into = document.getElementById(form.dataset.previewInto);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      into?.replaceChildren(...fresh.body.childNodes);
      tick();
    };
    const later = () => {
      clearTimeout(waiting);
      waiting = setTimeout(ask, 300);
    };
    form.addEventListener("input", later);
    form.addEventListener("change", later);
    ask();
  }
})();
