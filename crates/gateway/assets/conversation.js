// A conversation while it is looked at: local times, news told once, and a composer that follows the
// window without losing a word.
(() => {
  document.documentElement.classList.add("scripted");

  // --- Clock times, as the reader's clock has them ---------------------------------------------
  const zone = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" })
    .formatToParts(new Date()).find((part) => part.type === "timeZoneName")?.value ?? "";
  const local = () => {
    for (const time of document.querySelectorAll("time[data-clock]:not([data-local])")) {
      const at = new Date(time.dateTime);
      const hours = at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
      const day = at.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
      const today = at.toDateString() === new Date().toDateString();
      time.dataset.local = "";
      time.title = `${day}, ${hours} ${zone}`;
      time.textContent = today ? hours : `${day.replace(` ${new Date().getFullYear()}`, "")}, ${hours}`;
    }
  };
  local();

  const form = document.getElementById("composer-form");
  const news = document.getElementById("news");
  // Once: what is told is a change of the page, too, and changes are followed.
  const tell = (text) => {
    if (news && news.textContent !== text) news.textContent = text;
  };

  // --- What the customer writes is read out once, not with each change of the timeline -----------
  let newest = document.getElementById("timeline")?.dataset.newest;
  const hear = () => {
    const timeline = document.getElementById("timeline");
    if (!timeline || timeline.dataset.newest === newest) return;
    newest = timeline.dataset.newest;
    const said = [...timeline.querySelectorAll(".entry-in .said")].at(-1)?.textContent ?? "";
    tell(`The customer wrote: ${said.slice(0, 200)}`);
  };

  // --- What would come of sending, when that is something else than before -----------------------
  const outcome = () => document.querySelector("#composer-preview .outcome")?.textContent ?? "";
  let foreseen = outcome();
  const foresee = () => {
    const now = outcome();
    if (now === foreseen) return;
    foreseen = now;
    const told = document.getElementById("foreseen");
    if (told) told.textContent = now;
  };

  // --- The composer ------------------------------------------------------------------------------
  let follow = () => {};
  if (form) {
    const radio = (way) => document.getElementById(`way-${way}`);
    const reply = form.elements.namedItem("reply");
    const note = form.elements.namedItem("note");
    const kept = reply.closest(".way-panel");
    // The way that was left because it was closed.
    let left = "";
    const choose = (way) => {
      radio(way).checked = true;
      form.dispatchEvent(new Event("change", { bubbles: true }));
    };
    follow = () => {
      const state = document.getElementById("composer-state");
      if (!state) return;
      for (const one of form.querySelectorAll("input[name=mode]")) {
        one.disabled = state.dataset[one.value] !== "yes";
      }
      const locked = radio("reply").disabled;
      const opened = reply.readOnly && !locked;
      reply.readOnly = locked;
      kept.classList.toggle("is-kept", locked && reply.value.trim() !== "");
      const chosen = form.querySelector("input[name=mode]:checked");
      if (!chosen || chosen.disabled) {
        left = chosen ? chosen.value : "";
        if (!radio("note").disabled) choose("note");
        tell("This way has closed. What you wrote is kept; a note is selected.");
      } else if (opened) {
        tell("A free reply is possible again.");
        // Back to what was being written, unless something else has been begun meanwhile.
        if (left === "reply" && chosen.value === "note" && note.value.trim() === "") choose("reply");
        left = "";
      }
    };
    follow();

    form.elements.namedItem("template")?.addEventListener("change", async () => {
      const body = new URLSearchParams(new FormData(form));
      const answer = await fetch(form.dataset.template, { method: "POST", body }).catch(() => null);
      if (!answer?.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.getElementById("template-fields").replaceChildren(...fresh.body.childNodes);
      form.dispatchEvent(new Event("change", { bubbles: true }));
    });
    form.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      const send = document.getElementById("composer-send");
      if (send) form.requestSubmit(send);
    });
  }

  new MutationObserver(() => {
    local();
    hear();
    foresee();
    follow();
  }).observe(document.getElementById("main") ?? document.body, { childList: true, subtree: true });
})();
