"use strict";
const byId = (id) => document.getElementById(id);
const { review, items: most, seed } = document.body.dataset;
const items = [...document.querySelectorAll("article")];
const ids = new Set(items.map((item) => item.id));
const choices = ["first", "second", "equal"];
const keys = { 1: "first", ArrowLeft: "first", 2: "second", ArrowRight: "second", 0: "equal", ArrowDown: "equal" };
let votes = [];
let shown = Date.now();

const tell = (text) => (byId("message").textContent = text);
const isVote = (vote) => vote && ids.has(vote.item) && choices.includes(vote.vote) && Number.isFinite(vote.seconds);

// What a page from a file keeps in localStorage Chromium forgets at a reload; a database it finds again.
const database = new Promise((resolve, reject) => {
  const opening = indexedDB.open("sgpo-review", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("reviews");
  opening.onsuccess = () => resolve(opening.result);
  opening.onerror = () => reject(opening.error);
});

const transaction = async (mode, request) => {
  const open = (await database).transaction("reviews", mode);
  const made = request(open.objectStore("reviews"));
  return new Promise((resolve, reject) => {
    open.oncomplete = () => resolve(made.result);
    open.onabort = () => reject(open.error);
  });
};

const keep = async () => {
  const kept = { reviewer: byId("reviewer").value, votes: [...votes] };
  try {
    await transaction("readwrite", (store) => store.put(kept, review));
  } catch {
    tell("This browser keeps nothing for this page: save your votes before you close it.");
  }
};

const recall = async () => {
  try {
    const kept = await transaction("readonly", (store) => store.get(review));
    if (!kept) return;
    votes = Array.isArray(kept.votes) ? kept.votes.filter(isVote) : [];
    byId("reviewer").value = String(kept.reviewer ?? "");
  } catch {
    votes = [];
  }
};

const next = () => {
  const done = new Set(votes.map((vote) => vote.item));
  return items.find((item) => !done.has(item.id));
};

const show = () => {
  const open = next();
  for (const item of items) item.hidden = item !== open;
  byId("end").hidden = Boolean(open);
  byId("bar").value = votes.length;
  byId("place").value = `${votes.length} of ${items.length} done`;
  byId("undo").disabled = votes.length === 0;
  for (const button of document.querySelectorAll(".vote")) button.disabled = !open;
  window.scrollTo(0, 0);
  shown = Date.now();
};

const vote = (choice) => {
  const open = next();
  // Until the votes kept so far are read, no item is shown.
  if (!open || open.hidden) return;
  votes.push({ item: open.id, vote: choice, seconds: Math.round((Date.now() - shown) / 100) / 10 });
  tell("");
  keep();
  show();
};

const undo = () => {
  if (!votes.pop()) return;
  tell("");
  keep();
  show();
};

const save = () => {
  const reviewer = byId("reviewer").value.trim();
  if (!reviewer) {
    tell("Write your name first: votes of several people are told apart by it.");
    byId("reviewer").focus();
    return;
  }
  const content = JSON.stringify({ sgpo_votes: 1, review, items: Number(most), seed: Number(seed), reviewer, votes }, null, 1);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  link.download = `votes-${reviewer.toLowerCase().replace(/[^a-z0-9]+/g, "-") || "reviewer"}-${review.slice(0, 8)}.json`;
  link.click();
  URL.revokeObjectURL(link.href);
  tell(`${votes.length} vote${votes.length === 1 ? "" : "s"} saved as ${link.download}.`);
};

const load = async (file) => {
  let found;
  try {
    found = JSON.parse(await file.text());
  } catch {
    tell(`${file.name} is no file of votes.`);
    return;
  }
  if (!found || found.review !== review || !Array.isArray(found.votes) || !found.votes.every(isVote)) {
    tell(`${file.name} holds no votes of this page.`);
    return;
  }
  if (votes.length && !confirm(`Put the ${found.votes.length} votes of ${file.name} in the place of the ${votes.length} here?`)) return;
  votes = [...new Map(found.votes.map((each) => [each.item, { item: each.item, vote: each.vote, seconds: each.seconds }])).values()];
  byId("reviewer").value = String(found.reviewer ?? "");
  keep();
  show();
  tell(`${votes.length} votes loaded.`);
};

for (const button of document.querySelectorAll(".vote")) button.addEventListener("click", () => vote(button.dataset.vote));
byId("undo").addEventListener("click", undo);
byId("save").addEventListener("click", save);
byId("reviewer").addEventListener("input", keep);
byId("load").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) load(file);
  event.target.value = "";
});
byId("restart").addEventListener("click", () => {
  if (votes.length && !confirm(`Forget the ${votes.length} votes on this page?`)) return;
  votes = [];
  byId("reviewer").value = "";
  tell("");
  keep();
  show();
});
document.addEventListener("keydown", (event) => {
  // A held key would vote on answers that nobody has seen.
  if (event.target === byId("reviewer") || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (Object.hasOwn(keys, event.key)) vote(keys[event.key]);
  else if (event.key === "u" || event.key === "Backspace") undo();
  else if (event.key === "s") save();
  else return;
  event.preventDefault();
});
recall().then(show);
