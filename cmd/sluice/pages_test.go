package main

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

var screenshots = flag.String("screenshots", "", "directory for screenshots of the pages")

// browser is a headless Chromium; the test is skipped, and says so, where there is none.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium on this machine: install the package chromium to test the pages")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1280, 1000))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// tab is one page of the browser, of which every step must succeed.
type tab struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp keeps the tab in it
}

func (b *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// get evaluates JavaScript that yields a text, a number as text, or the like.
func (b *tab) get(expression string) string {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`String(`+expression+`)`))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// shot keeps a screenshot if a directory was asked for.
func (b *tab) shot(name string) {
	b.t.Helper()
	if *screenshots == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(*screenshots, name+".png"), png, 0o600)
	}
	if err != nil {
		b.t.Fatalf("screenshot %s: %v", name, err)
	}
}

// TestShopperSwitchesPersonalizationOff walks through the shop as a newcomer does: accept, look around, see a personal row, block something,
// switch recommendations off, see what everyone sees, delete a footprint, withdraw, and accept again.
func TestShopperSwitchesPersonalizationOff(t *testing.T) {
	b := &tab{t: t, ctx: browser(t)}
	d := startDemo(t, t.TempDir(), "--shop", "retail", "--shoppers", "40")
	home := chromedp.Navigate(d.url + "/")
	personalized := func() bool {
		b.do("opening the shop", home)
		return b.get(`document.querySelector("#personal").dataset.personalized`) == "true"
	}
	eventually(t, "the notice", func() bool { // a machine that is very busy shows that it is, at first
		b.do("opening the shop", home)
		return b.get(`!!document.querySelector(".policy")`) == "true"
	})
	b.shot("notice")
	b.do("a phone's width", chromedp.EmulateViewport(390, 844))
	b.shot("notice-narrow")
	if b.get(`document.querySelector(".policy").offsetHeight < innerHeight / 2`) != "true" {
		t.Error("the notice takes more than half of a phone")
	}
	b.do("a desktop's width", chromedp.EmulateViewport(1280, 1000))
	if personalized() {
		t.Error("personal before the policy was accepted")
	}
	b.do("accepting", chromedp.Click(chromedp.CSS(`.policy button[value="yes"]`)), chromedp.WaitNotPresent(chromedp.CSS(".policy")))
	b.do("looking at an item", chromedp.Click(chromedp.CSS("#trending .card a")), chromedp.WaitVisible(chromedp.CSS("article.item h1")))
	b.shot("item")
	eventually(t, "a personal row", personalized)
	b.do("why this", chromedp.Click(chromedp.CSS("#personal details.why summary")), chromedp.WaitVisible(chromedp.CSS("#personal details.why p")))
	b.shot("storefront")

	const title = `document.querySelector("#personal .card .title").textContent`
	first := b.get(title)
	b.do("blocking", chromedp.Click(chromedp.CSS("#personal details.why form button")))
	eventually(t, "the card disappears", func() bool { return b.get(title) != first })
	if personalized(); b.get(title) == first {
		t.Errorf("%q is still shown", first)
	}

	settings := chromedp.Navigate(d.url + "/settings/privacy")
	b.do("settings", settings, chromedp.WaitVisible(chromedp.CSS("#switch-personalize.on")))
	b.shot("settings")
	b.do("switching off", chromedp.Click(chromedp.CSS("#switch-personalize")), chromedp.WaitVisible(chromedp.CSS("#switch-personalize:not(.on)")))
	b.shot("settings-off")
	if personalized() {
		t.Error("personal after the switch was turned off")
	}
	b.shot("storefront-off")

	const count = `document.querySelectorAll("#footprints > li").length`
	b.do("settings", settings, chromedp.WaitVisible(chromedp.CSS("#footprints")))
	before := b.get(count)
	b.do("deleting a footprint", chromedp.Click(chromedp.CSS("#footprints button")), chromedp.WaitVisible(chromedp.CSS(".notice")))
	if after := b.get(count); after == before {
		t.Errorf("%s footprints, as before one was deleted", after)
	}

	b.do("withdrawing", settings, chromedp.Click(chromedp.CSS(`#policy-button[value="withdraw"]`)), chromedp.WaitVisible(chromedp.CSS(`#policy-button[value="yes"]`)))
	if personalized() {
		t.Error("personal after the acceptance was withdrawn")
	}
	b.do("accepting again", settings, chromedp.Click(chromedp.CSS(`#policy-button[value="yes"]`)), chromedp.WaitVisible(chromedp.CSS(`#policy-button[value="withdraw"]`)))
}
