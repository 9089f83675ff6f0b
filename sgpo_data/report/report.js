"use strict";
const form = document.getElementById("choose");
if (form) {
  const rows = [...document.querySelectorAll("#sample > .row")];
  const texts = new Map();
  const text = (row) => {
    if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
    return texts.get(row);
  };
  const choose = () => {
    const wanted = form.elements.text.value.trim().toLowerCase();
    let found = 0;
    for (const row of rows) {
      const fits =
        (!form.elements.place.value || row.dataset.place === form.elements.place.value) &&
        (!form.elements.outcome.value || row.dataset.outcome === form.elements.outcome.value) &&
        (!wanted || text(row).includes(wanted));
      row.hidden = !fits;
      found += fits;
    }
    document.getElementById("found").value = `${found} of ${rows.length} rows`;
  };
  form.addEventListener("input", choose);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  choose();
}
const tables = new ResizeObserver((seen) => {
  for (const { target } of seen) target.classList.toggle("fits", target.scrollWidth <= target.clientWidth);
});
for (const table of document.querySelectorAll(".scroll")) tables.observe(table);
