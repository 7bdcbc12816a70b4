// Changes while a page is open: one stream where the server has streams, polling everywhere else.
const POLL = 2500, POLL_HIDDEN = 15000, REREAD = 60000;

export function live(again, tree) {
  const view = document.body.dataset.view;
  if (!view) return;
  let after = Number(document.body.dataset.after), source = null, waiting = null, reading = 0;
  const pulse = document.getElementById("pulse"), count = document.getElementById("attention");
  const title = document.title.replace(/^\(\d+\) /, "");
  const [kind, task] = view.split(":");
  const asked = () => new URLSearchParams({ after, view: kind, ...(task && { [kind]: task }), ...(document.hidden && { hidden: "" }) });

  function attention(number) {
    count.textContent = number;
    count.hidden = !number;
    document.title = number ? `(${number}) ${title}` : title;
  }

  // Read the page again, at most every two seconds.
  function reread() {
    if (waiting) return;
    waiting = setTimeout(() => { waiting = null; reading = Date.now(); again(); }, Math.max(0, reading + 2000 - Date.now()));
  }

  function take(told) {
    attention(told.attention);
    if (document.hidden) return; // The rows come when the page is shown again: the cursor stays.
    after = told.after;
    if (told.again || (told.rows && tree.change(told.rows))) reread();
  }

  function beat(fine) {
    pulse.className = fine ? "pulse on" : "pulse off";
    pulse.title = fine ? "Live" : "The server cannot be reached; trying again";
  }

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
    source?.close();
    source = null;
    if ("stream" in document.body.dataset && !document.hidden) stream(); else poll();
  }

  document.addEventListener("visibilitychange", begin);
  setInterval(() => document.hidden || reread(), REREAD); // Some waits end with time, without an event.
  begin();
}
