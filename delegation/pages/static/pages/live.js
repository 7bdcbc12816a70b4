// Changes while a page is open: one stream where the server has streams, polling everywhere else.
const POLL = 2500, POLL_HIDDEN = 15000, REREAD = 60000;

export function live(again, tree) {
  const view = document.body.dataset.view;
  if (!view) return;
  let after = Number(document.body.dataset.after), source = null, failures = 0, waiting = null, reading = 0;
  const pulse = document.getElementById("pulse"), count = document.getElementById("attention");
  const title = document.title.replace(/^\(\d+\) /, "");
  const asked = () => {
    const query = new URLSearchParams({ after });
    if (document.hidden) query.set("hidden", "");
    if (view === "tree") query.set("view", "tree");
    if (view.startsWith("task:")) query.set("task", view.slice(5));
    return query;
  };

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
    if (document.hidden) return; // The rows come when the page is shown: the cursor stays.
    after = told.after;
    if (told.rows && tree.change(told.rows)) reread();
    if (told.again) reread();
  }

  async function poll() {
    clearTimeout(poll.next);
    const answer = await fetch(`/changes?${asked()}`).catch(() => null);
    const fine = answer?.ok && !answer.redirected;
    failures = fine ? 0 : failures + 1;
    pulse.className = fine ? "pulse on" : "pulse off";
    pulse.title = fine ? "Live" : "The server cannot be reached; trying again";
    if (answer?.redirected) { location.reload(); return; }
    if (fine && answer.status === 200) take(await answer.json());
    if (!source) poll.next = setTimeout(poll, document.hidden ? POLL_HIDDEN : Math.min(POLL * 2 ** failures, 30000));
  }

  function stream() {
    source = new EventSource(`/stream?${asked()}`);
    source.onmessage = (event) => { failures = 0; pulse.className = "pulse on"; take(JSON.parse(event.data)); };
    source.onopen = () => { pulse.className = "pulse on"; };
    source.onerror = () => { // The browser connects again by itself; after three failures pages poll.
      pulse.className = "pulse off";
      if (source.readyState === EventSource.CLOSED || (failures += 1) > 3) { source.close(); source = null; poll(); }
    };
  }

  function begin() {
    source?.close();
    source = null;
    if ("stream" in document.body.dataset && !document.hidden && failures <= 3) { clearTimeout(poll.next); stream(); } else poll();
  }

  document.addEventListener("visibilitychange", begin);
  setInterval(() => document.hidden || reread(), REREAD); // Some waits end with time, without an event.
  begin();
}
