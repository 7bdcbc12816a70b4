// Changes while a page is open: one stream where the server has streams, polling everywhere else.
const POLL = 2500, POLL_HIDDEN = 15000, REREAD = 60000, REREAD_FLOW = 10000;

export function live(again, tree) {
  const view = document.body.dataset.view, [kind, task] = view.split(":"), title = document.title.replace(/^\(\d+\) /, "");
  if (!view) return;
  let after = Number(document.body.dataset.after), source = null, waiting = null, reading = 0;
  const pulse = document.getElementById("pulse"), count = document.getElementById("attention");
  let seen = Number(count.textContent.replaceAll(",", ""));
  const asked = () => new URLSearchParams({
    after, view: kind, ...(task && { [kind]: task }), ...(document.hidden && { hidden: "" }), ...(kind === "tree" && { open: tree.open() }),
  });
  function reread() { // at most every two seconds
    if (waiting) return;
    waiting = setTimeout(() => { waiting = null; reading = Date.now(); again(); }, Math.max(0, reading + 2000 - Date.now()));
  }

  function take(told) {
    const more = told.attention > seen;
    Object.assign(count, { textContent: told.attention.toLocaleString("en"), hidden: !told.attention });
    document.title = (seen = told.attention) ? `(${seen}) ${title}` : title;
    // The rows of a hidden page come when the page is shown again: the cursor stays.
    if (document.hidden) return more && localStorage.notify === "granted" && new Notification(document.title, { tag: "hopper" });
    after = told.after;
    if (told.again ? kind !== "flow" : told.rows !== undefined && tree.change(told.rows, told.gone)) reread();
  }

  const beat = (fine) => Object.assign(pulse, fine
    ? { className: "pulse on", title: "Live" } : { className: "pulse off", title: "The server cannot be reached; trying again" });

  async function poll() {
    clearTimeout(poll.next);
    const answer = await fetch(`/changes?${asked()}`).catch(() => null);
    if (answer?.redirected) return location.reload();
    beat(answer?.ok);
    if (answer?.status === 200) take(await answer.json());
    if (!source) poll.next = setTimeout(poll, document.hidden ? POLL_HIDDEN : answer?.ok ? POLL : 2 * POLL);
  }
  // The browser connects a lost stream again by itself. A refused stream is tried later.
  function stream() {
    clearTimeout(poll.next);
    source = new EventSource(`/stream?${asked()}`);
    source.onmessage = (event) => take(JSON.parse(event.data));
    source.onopen = () => beat(true);
    source.onerror = () => {
      beat(false);
      if (source?.readyState !== EventSource.CLOSED) return;
      source = null;
      poll();
      setTimeout(begin, 10 * POLL);
    };
  }
  function begin() {
    source = source?.close();
    if ("stream" in document.body.dataset && !document.hidden) stream(); else poll();
  }
  document.addEventListener("visibilitychange", begin);
  document.addEventListener("unfolded", () => { clearTimeout(begin.later); begin.later = setTimeout(begin, 200); }); // for the new rows
  setInterval(() => document.hidden || reread(), kind === "flow" ? REREAD_FLOW : REREAD); // Some waits end with time, without an event.
  begin();
}
