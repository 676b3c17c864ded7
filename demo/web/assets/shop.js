// Enhances the pages; every one of them works without it.

const say = (text) => { document.getElementById("said").textContent = text; };

const plainly = new WeakSet(); // forms that the browser sends by itself

// A card that is blocked disappears at once, while the form does its work. The focus goes to the card that takes its place.
async function block(form, submitter) {
  const card = form.closest(".card");
  const title = card.querySelector(".title").textContent;
  const body = new URLSearchParams(new FormData(form, submitter));
  const answer = await fetch(form.action, { method: "POST", body, redirect: "manual" }).catch(() => null);
  if (!answer || (answer.type !== "opaqueredirect" && !answer.ok)) {
    plainly.add(form);
    return form.requestSubmit(submitter); // the browser shows what is wrong
  }
  const next = card.nextElementSibling ?? card.previousElementSibling;
  const held = card.contains(document.activeElement);
  const kind = form.elements.kind.value;
  card.remove();
  if (held) (next?.querySelector("a") ?? document.getElementById("main")).focus();
  say(kind === "item" ? `${title} will not be shown again.` : `Nothing from ${submitter.value} will be shown, from the next page on.`);
}

// A form that leads back to its page gives the focus back to the control that sent it, or to the message of what it did.
const place = "focus";
const remember = (submitter) => sessionStorage.setItem(place, JSON.stringify({ path: location.pathname, id: submitter?.id ?? "" }));

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.closest(".card") && form.action.endsWith("/shop/block") && !plainly.has(form)) {
    event.preventDefault();
    block(form, event.submitter);
  } else if (form.method === "post") {
    remember(event.submitter);
  }
});

const kept = JSON.parse(sessionStorage.getItem(place) ?? "null");
sessionStorage.removeItem(place);
if (kept) {
  const same = kept.path === location.pathname && kept.id ? document.getElementById(kept.id) : null;
  (same ?? document.getElementById("notice") ?? document.getElementById("main")).focus();
}

// A menu closes when the focus leaves it, and on Escape.
for (const menu of document.querySelectorAll("details.menu")) {
  menu.addEventListener("focusout", (event) => {
    if (!menu.contains(event.relatedTarget)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}
