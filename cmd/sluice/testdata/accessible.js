// What a page must keep for people who do not see it well, or have no mouse. The value is a list of sentences, one a fault.
(() => {
  const faults = [];
  const text = (element) => element.outerHTML.slice(0, 90).replace(/\s+/g, " ");
  const seen = (element) => element.getClientRects().length > 0 && getComputedStyle(element).visibility !== "hidden" && !element.closest(".hidden");

  // Names.
  const named = (element) => (element.getAttribute("aria-label") || [...(element.labels ?? [])].map((l) => l.textContent).join("") || element.textContent).trim() ||
    (element.getAttribute("aria-labelledby") ?? "").split(" ").some((id) => document.getElementById(id)?.textContent.trim());
  for (const control of document.querySelectorAll("a[href], button, select, summary, input:not([type=hidden])")) if (!named(control)) faults.push(`has no name: ${text(control)}`);
  for (const image of document.querySelectorAll("img")) if (image.getAttribute("alt") === null) faults.push(`has no alt: ${text(image)}`);
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) faults.push(`stands twice: id ${id}`);
  if (document.querySelectorAll("h1").length !== 1) faults.push(`has ${document.querySelectorAll("h1").length} h1`);
  if (!document.documentElement.lang) faults.push("has no language");

  // Targets: 24 by 24, links within a sentence apart (WCAG 2.5.8).
  const inSentence = (a) => a.parentElement.closest("p, li > span, td, dd") && [...a.parentElement.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim().length > 1);
  for (const control of document.querySelectorAll("a[href], button, select, summary, input:not([type=hidden])")) {
    const box = control.getBoundingClientRect();
    if (!seen(control) || control.className === "skip" || control.localName === "a" && inSentence(control)) continue;
    if (box.height < 24 || box.width < 24) faults.push(`is ${Math.round(box.width)} by ${Math.round(box.height)}: ${text(control)}`);
  }

  // Contrast of texts with what is behind them.
  const channels = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = (rgb) => rgb.slice(0, 3).map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const [r, g, b, a = 1] = channels(getComputedStyle(e).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !seen(element) || element.closest("option, script")) continue;
    const style = getComputedStyle(element);
    const [light, dark] = [luminance(channels(style.color)), luminance(behind(element))].sort((a, b) => b - a);
    const large = parseFloat(style.fontSize) >= 24 || parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700;
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < (large ? 3 : 4.5)) faults.push(`has contrast ${ratio.toFixed(1)}: ${text(element)}`);
  }

  // The way of the Tab key: nothing jumps ahead, and after the skip link the notice comes first.
  const stops = [...document.querySelectorAll("a[href], button, select, summary, input:not([type=hidden])")].filter((e) => seen(e) || e.className === "skip");
  if (document.querySelector("[tabindex]:not([tabindex='-1'])")) faults.push("has a tabindex that jumps ahead");
  if (stops[0]?.className !== "skip") faults.push("does not begin with the skip link");
  if (document.querySelector(".policy") && !stops[1]?.closest(".policy")) faults.push("does not go to the notice first");
  if (document.documentElement.scrollWidth > innerWidth) faults.push(`is ${document.documentElement.scrollWidth} wide in a window of ${innerWidth}`);
  return faults;
})()
