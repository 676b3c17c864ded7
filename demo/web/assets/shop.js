// Enhances the pages; every one of them works without it.

// A card that is blocked disappears at once, while the form does its work.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  const card = form.closest(".card");
  if (!card || !form.action.endsWith("/shop/block")) return;
  event.preventDefault();
  const data = new FormData(form, event.submitter);
  const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(data), redirect: "manual" });
  if (answer.type === "opaqueredirect" || answer.ok) card.remove();
  else form.submit();
});

// A menu closes when the focus leaves it.
for (const menu of document.querySelectorAll("details.menu")) {
  menu.addEventListener("focusout", (event) => {
    if (!menu.contains(event.relatedTarget)) menu.open = false;
  });
}
