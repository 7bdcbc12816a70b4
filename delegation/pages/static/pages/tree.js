// The tree table: folding, the keyboard of a treegrid, dragging, and rows that change.
const rowOf = (node) => node.closest?.("tr[aria-level]");
const body = () => document.getElementById("rows");
const level = (row) => Number(row.getAttribute("aria-level"));
const id = (row) => row.id.slice(2);
const up = (row) => document.getElementById(`i-${row.dataset.up}`);

function below(row) {
  const found = [];
  for (let one = row; (one = one.nextElementSibling) && level(one) > level(row);) found.push(one);
  return found;
}

// Show or hide the rows below a row, as each of them is folded.
function show(row) {
  let hiddenBelow = row.getAttribute("aria-expanded") === "false" || row.hidden ? level(row) : Infinity;
  for (const one of below(row)) {
    if (level(one) <= hiddenBelow) hiddenBelow = Infinity;
    one.hidden = level(one) > hiddenBelow;
    if (!one.hidden && one.getAttribute("aria-expanded") === "false") hiddenBelow = level(one);
  }
}

async function fold(row, folded) {
  if (!row.hasAttribute("aria-expanded")) return;
  row.setAttribute("aria-expanded", String(!folded));
  if (!folded && !below(row).length) {
    const answer = await fetch(`/?under=${encodeURIComponent(id(row))}&level=${level(row)}`, { headers: { "X-Fragment": "1" } });
    if (answer.ok) row.insertAdjacentHTML("afterend", await answer.text());
    row.dataset.late = "";
    document.dispatchEvent(new Event("unfolded"));
  }
  // Rows that came late are not kept up while they are folded.
  if (folded && "late" in row.dataset) for (const one of below(row)) one.remove();
  show(row);
  sessionStorage.setItem(`fold ${id(row)}`, folded ? "1" : "0");
}

function step(row, way) {
  do row = row[way]; while (row?.hidden);
  return row;
}

function focus(row) {
  if (!row) return;
  for (const one of body().querySelectorAll('[tabindex="0"]')) one.tabIndex = -1;
  row.tabIndex = 0;
  row.focus();
}

let dragged = null; // the row under way
export const tree = {
  isBusy: () => dragged !== null,
  start(open) {
    this.restore();
    document.addEventListener("click", (event) => {
      const row = event.target.closest("[data-fold]") && rowOf(event.target);
      if (row) fold(row, row.getAttribute("aria-expanded") === "true");
    });
    const drag = (event) => {
      const row = rowOf(event.target);
      document.querySelector(".over")?.classList.remove("over");
      if (event.type === "dragstart") dragged = row;
      if (event.type === "dragend") dragged = null;
      if (!dragged || !row || row === dragged) return;
      event.preventDefault();
      if (event.type === "dragover") row.classList.add("over");
      else open(`/instances/${id(dragged)}/move?parent_id=${encodeURIComponent(id(row))}`);
    };
    for (const kind of ["dragstart", "dragover", "dragend", "drop"]) document.addEventListener(kind, drag);
  },

  key(event, open) {
    const row = rowOf(document.activeElement), first = body()?.querySelector("tr:not([hidden])");
    if (!row) return event.key === "ArrowDown" && first ? (event.preventDefault(), focus(first)) : null;
    const folded = row.getAttribute("aria-expanded");
    const does = {
      ArrowDown: () => focus(step(row, "nextElementSibling")),
      ArrowUp: () => focus(step(row, "previousElementSibling")),
      Home: () => focus(first),
      End: () => focus(step({ previousElementSibling: body().lastElementChild }, "previousElementSibling")),
      ArrowRight: () => (folded === "false" ? fold(row, false) : folded && focus(step(row, "nextElementSibling"))),
      ArrowLeft: () => (folded === "true" ? fold(row, true) : focus(up(row))),
      Enter: () => row.querySelector("th a").click(),
      ".": () => open(`/instances/${id(row)}?menu`),
      n: () => open(`/instances/${id(row)}/add`),
      m: () => open(`/instances/${id(row)}/move`),
    }[event.key];
    if (does) { event.preventDefault(); does(); }
  },

  // The ids of rows that were unfolded by hand.
  open() {
    const kept = [...(body()?.querySelectorAll("[aria-expanded=true]") ?? [])].map(id);
    return kept.filter((one) => sessionStorage.getItem(`fold ${one}`) === "0").slice(-50).join();
  },

  // Put changed rows in, take ended ones out. Return whether a row came that the page does not have.
  change(html, gone = []) {
    if (dragged) return true;
    const ended = gone.map((one) => document.getElementById(`i-${one}`)).filter(Boolean);
    for (const row of ended.flatMap((one) => [...below(one), one])) row.remove();
    const holder = document.createElement("tbody");
    holder.innerHTML = html;
    let unknown = false;
    for (const fresh of [...holder.children]) {
      const old = document.getElementById(fresh.id);
      if (!old) { unknown ||= !fresh.dataset.up || !!document.getElementById(`i-${fresh.dataset.up}`); continue; }
      fresh.hidden = old.hidden;
      fresh.className = old.className.replace("new", "").trim();
      for (const name of ["aria-expanded", "tabindex", "aria-level", "data-late"]) {
        if (old.hasAttribute(name) && (name !== "aria-expanded" || fresh.hasAttribute(name))) fresh.setAttribute(name, old.getAttribute(name));
      }
      const focused = old.contains(document.activeElement);
      old.replaceWith(fresh);
      fresh.classList.add("new");
      if (focused) fresh.focus();
    }
    return unknown && !document.querySelector(".filter input")?.value;
  },

  // Fold and unfold as the person left the tree.
  restore() {
    if (!body() || new URLSearchParams(location.search).get("q")) return;
    for (const row of [...body().querySelectorAll("[aria-expanded]")]) {
      const kept = sessionStorage.getItem(`fold ${id(row)}`);
      if (kept !== null && (kept === "0") !== (row.getAttribute("aria-expanded") === "true")) fold(row, kept === "1");
    }
    body().querySelector("tr:not([hidden])")?.setAttribute("tabindex", "0");
  },
};
