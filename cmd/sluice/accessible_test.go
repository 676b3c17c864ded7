package main

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestPagesAreAccessible looks at every page, wide and narrow, light and dark: names, targets, contrast, the way of the Tab key, by rules of our own; and by
// those of axe where SLUICE_AXE names its file, as `make integration` has it.
func TestPagesAreAccessible(t *testing.T) {
	b := &tab{t: t, ctx: browser(t)}
	d := startDemo(t, t.TempDir(), "--shoppers", "20")
	rules, err := os.ReadFile("testdata/accessible.js")
	if err != nil {
		t.Fatal(err)
	}
	axe := ""
	if path := os.Getenv("SLUICE_AXE"); path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		axe = string(data)
	}
	look := func(name, path string) {
		t.Helper()
		for _, width := range []int64{1280, 390} {
			b.do("the window", chromedp.EmulateViewport(width, 900))
			for _, scheme := range []string{"light", "dark"} {
				b.do(path, b.scheme(scheme), chromedp.Navigate(d.url+path), chromedp.WaitVisible(chromedp.CSS("main")))
				where := name + "-" + strconv.FormatInt(width, 10) + "-" + scheme
				b.shot(where)
				b.faults(where, string(rules))
				if axe != "" {
					b.axe(where, axe)
				}
			}
		}
		b.do("a desktop's width", chromedp.EmulateViewport(1280, 1000), b.scheme("light"))
	}
	eventually(t, "lists of what people chose", func() bool { // a machine that is very busy shows that it is, at first
		b.do("opening the shop", chromedp.Navigate(d.url+"/"))
		return strings.Contains(b.get(`document.body.textContent`), "The past of this shop is real")
	})
	d.settled()
	look("notice", "/")
	look("privacy-before", "/settings/privacy")
	b.do("accepting", chromedp.Navigate(d.url+"/"), chromedp.Click(chromedp.CSS(`.policy button[value="yes"]`)), chromedp.WaitNotPresent(chromedp.CSS(".policy")))
	b.focuses("notice")
	for _, item := range []string{"85123A", "22384"} {
		b.do("looking at an item", chromedp.Navigate(d.url+"/shop/items/"+item), chromedp.WaitVisible(chromedp.CSS("article.item h1")))
	}
	eventually(t, "a personal row", func() bool {
		b.do("opening the shop", chromedp.Navigate(d.url+"/"))
		return b.get(`document.querySelector("#personal").dataset.personalized`) == "true"
	})
	look("home", "/")
	b.keepsTheFocus(d.url)
	look("item", "/shop/items/85123A")
	look("category", "/shop/category/Kitchen")
	look("search", "/shop/search?q=heart")
	look("cart-empty", "/shop/cart")
	look("order", b.checkOut(d.url))
	look("cart", "/shop/cart")
	look("privacy", "/settings/privacy")
	look("error", "/nothing")
}

// scheme makes the pages light or dark.
func (b *tab) scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
		return err
	})
}

func (b *tab) faults(where, rules string) {
	b.t.Helper()
	faults, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](rules))
	if err != nil {
		b.t.Fatalf("%s: %v", where, err)
	}
	for _, fault := range faults {
		b.t.Errorf("%s %s", where, fault)
	}
}

// axe runs axe, and counts what is serious or critical.
func (b *tab) axe(where, script string) {
	b.t.Helper()
	b.do("loading axe", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := chromedp.Evaluate[bool](script+"\ntrue")(ctx, target)
		return err
	}))
	found, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](
		`axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then((r) => r.violations.map((v) => v.impact + ": " + v.id + ", " + v.nodes.length + " times: " + v.nodes[0].html.slice(0, 120)))`,
		chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: axe: %v", where, err)
	}
	for _, violation := range found {
		if strings.HasPrefix(violation, "serious") || strings.HasPrefix(violation, "critical") {
			b.t.Errorf("%s: axe: %s", where, violation)
		} else {
			b.t.Logf("%s: axe: %s", where, violation)
		}
	}
}

// keepsTheFocus works with the keyboard's focus alone: a blocked card gives it to its neighbour, a switch keeps it.
func (b *tab) keepsTheFocus(url string) {
	b.t.Helper()
	b.do("home", chromedp.Navigate(url+"/"), chromedp.WaitVisible(chromedp.CSS("#personal .card")))
	const cards = `document.querySelectorAll("#personal .card").length`
	before := b.get(cards)
	b.do("why this", chromedp.Click(chromedp.CSS("#personal details.why summary")), chromedp.WaitVisible(chromedp.CSS("#personal details.why p")))
	b.shot("why")
	b.do("blocking", chromedp.Click(chromedp.CSS("#personal details.why form button")))
	eventually(b.t, "the card goes", func() bool { return b.get(cards) != before })
	eventually(b.t, "the focus at a card's neighbour, and a word about the card", func() bool {
		return b.get(`document.activeElement.closest(".card") !== null && document.getElementById("said").textContent !== ""`) == "true"
	})
	b.do("privacy", chromedp.Navigate(url+"/settings/privacy"), chromedp.Click(chromedp.CSS(`[id="switch-marketing.sms"]`)), chromedp.WaitVisible(chromedp.CSS(".notice")))
	b.focuses("switch-marketing.sms")
}

// focuses waits until the page's script has given the focus to an element.
func (b *tab) focuses(id string) {
	b.t.Helper()
	eventually(b.t, "the focus at "+id, func() bool { return b.get(`document.activeElement.id`) == id })
}

// checkOut buys with the card that the cheats pass around, and tells where its order is shown. The cart has something in it again afterwards.
func (b *tab) checkOut(url string) string {
	b.t.Helper()
	put := func() {
		b.do("into the cart", chromedp.Navigate(url+"/shop/items/85123A"), chromedp.Click(chromedp.CSS("form.buy button")), chromedp.WaitVisible(chromedp.CSS(".basket")))
	}
	put()
	b.do("buying", chromedp.SetValue(chromedp.CSS(`select[name="card"]`), "stolen"), chromedp.Click(chromedp.CSS("form.pay button")), chromedp.WaitVisible(chromedp.CSS(".order")))
	if outcome := b.get(`document.querySelector(".order").dataset.outcome`); outcome != "review" {
		b.t.Errorf("a payment with a stolen card: %s", outcome)
	}
	put()
	return "/shop/order"
}
