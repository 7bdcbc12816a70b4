// What every page does: dialogs, forms without reload, times, shortcuts. Links and forms work without it.
import { live } from "./live.js";
import { tree } from "./tree.js";

const [dialog, keys, toast, region] = ["dialog", "keys", "toast", "live"].map((id) => document.getElementById(id));
const FRAGMENT = { headers: { "X-Fragment": "1" } };

function say(words) {
  toast.textContent = words;
  toast.classList.add("on");
  setTimeout(() => toast.classList.remove("on"), 2500);
}

// Read the middle of the open page again and put the changed parts in.
async function again() {
  clearTimeout(again.later); // While somebody writes or drags, the page waits.
  if (tree.isBusy() || [...region.querySelectorAll("textarea")].some((one) => one.value)) return void (again.later = setTimeout(again, 2000));
  const answer = await fetch(location.href, FRAGMENT).catch(() => null);
  if (!answer || answer.redirected || !answer.ok) return;
  const fresh = document.createElement("div");
  fresh.innerHTML = await answer.text();
  const focused = document.activeElement?.id;
  const open = [...region.querySelectorAll("details")].map((one) => one.open);
  region.replaceChildren(...fresh.childNodes);
  region.querySelectorAll("details").forEach((one, at) => { one.open = open[at] ?? one.open; });
  tree.restore();
  if (focused) document.getElementById(focused)?.focus();
  times();
}

async function open(address) {
  const answer = await fetch(address, FRAGMENT).catch(() => null);
  if (!answer || answer.redirected) { location.href = address; return; }
  dialog.innerHTML = await answer.text();
  if (!dialog.open) dialog.showModal();
  dialog.querySelector("input:not([type=hidden]), textarea, select, button")?.focus();
}

async function send(form, button) {
  const answer = await fetch(form.action, { method: "POST", body: new FormData(form, button), ...FRAGMENT }).catch(() => null);
  if (!answer) return say("The server cannot be reached.");
  if (answer.status === 204) {
    dialog.close();
    document.activeElement?.blur();
    form.reset();
    say(form.dataset.said || "Done.");
    return again();
  }
  dialog.innerHTML = await answer.text();
  if (!dialog.open) dialog.showModal();
}
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-live]")) return;
  event.preventDefault();
  if (event.submitter?.formMethod === "get") open(preview(event.target)); else send(event.target, event.submitter);
});

function preview(form) {
  const asked = new URLSearchParams(new FormData(form));
  asked.delete("csrfmiddlewaretoken");
  return `${form.action}?${asked}`;
}

document.addEventListener("change", ({ target }) => target.matches("#dialog form[data-preview] [type=checkbox]") && open(preview(target.form)));

document.addEventListener("click", (event) => {
  const link = event.target.closest("a, button");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (link.matches("[data-dialog]")) { event.preventDefault(); open(link.href); }
  if (link.matches("#dialog [data-close]")) { event.preventDefault(); dialog.close(); }
  if (link.matches("[data-notify]")) notify();
  if (link.dataset.open) document.getElementById(link.dataset.open).showModal();
});

async function notify() {
  localStorage.notify = await Notification.requestPermission();
  say(localStorage.notify === "granted" ? "Told in the background when more needs a person." : "This browser does not allow it.");
}

// Times are told as their distance from now, each minute anew.
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
function times() {
  for (const one of document.querySelectorAll("time[datetime]")) {
    const seconds = (Date.now() - Date.parse(one.dateTime)) / 1000;
    const [length, unit] = UNITS.find(([length]) => Math.abs(seconds) >= length) ?? [1, "s"];
    const told = `${Math.floor(Math.abs(seconds) / length)} ${unit}`;
    one.textContent = one.className === "age" ? told : seconds >= 0 ? `${told} ago` : `in ${told}`;
  }
}
setInterval(times, 20000);

const PLACES = { t: "/", a: "/attention", m: "/mine", f: "/flow" };
let going = 0;
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) return;
  if (event.key === "Escape" && typing) return typing.blur();
  if (dialog.open || keys.open) return;
  if (Date.now() - going < 1200 && PLACES[event.key]) { location.href = PLACES[event.key]; return; }
  if (event.key === "g") { going = Date.now(); return; }
  if (event.key === "?") return keys.showModal();
  const box = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (box) { event.preventDefault(); box.select(); box.focus(); return; }
  tree.key(event, open);
});

tree.start(open);
live(again, tree);
