// Package web has the demo storefront and the page Settings → Privacy: server-rendered, working without JavaScript,
// and built on the public API alone, as a shop's own pages would be.
package web

import (
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"

	"sluice/internal/httpx"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// Item is what a card shows.
type Item struct {
	ID, Title, Category, Subcategory, Price, Currency string
}

// Catalogue is what the pages ask about items; ranking is the API's business.
type Catalogue interface {
	Item(id string) (Item, bool)
	Search(query string, limit int) []Item
	InCategory(name string, limit int) []Item
	Categories() []string
}

// Crowd is who else is in the shop.
type Crowd struct {
	Shoppers int  // simulated
	OptedOut int  // of them, have switched personalization off
	Orders   int  // of the shop's past; 0: it has none
	Replayed int  // of them, so far
	Behind   bool // the past is still being replayed
}

// Percent is how much of the past has been replayed.
func (c Crowd) Percent() int { return c.Replayed * 100 / max(1, c.Orders) }

// Options of the pages.
type Options struct {
	API         *Client // speaks to the API with a server key
	Catalogue   Catalogue
	Crowd       interface{ Crowd() Crowd } // nil: nobody else
	Cards       []Card                     // that can be paid with
	Key         [32]byte                   // signs cookies and form tokens
	Attribution string                     // shown below every page
	Logger      *slog.Logger
}

// site answers the pages' requests.
type site struct {
	Options
	pages map[string]*template.Template
}

// Register adds the pages to the API's mux, and shows browsers a page where there is none.
func Register(api *httpx.API, o Options) error {
	mux, s := api.Mux, &site{Options: o, pages: make(map[string]*template.Template)}
	for _, page := range []string{"home", "item", "list", "cart", "order", "privacy", "error"} {
		t, err := template.New("layout.html").Funcs(functions).ParseFS(templateFiles, "templates/layout.html", "templates/cards.html", "templates/"+page+".html")
		if err != nil {
			return fmt.Errorf("parsing page %s: %w", page, err)
		}
		s.pages[page] = t
	}
	assets, err := fs.Sub(assetFiles, "assets")
	if err != nil {
		return err
	}
	mux.Handle("GET /assets/", secure(http.StripPrefix("/assets/", http.FileServerFS(assets))))
	for pattern, handler := range map[string]func(*visit) error{
		"GET /{$}":                                 s.home,
		"GET /shop/items/{id}":                     s.item,
		"GET /shop/category/{name}":                s.category,
		"GET /shop/search":                         s.search,
		"GET /shop/cart":                           s.cart,
		"GET /settings/privacy":                    s.privacy,
		"POST /shop/items/{id}/cart":               s.addToCart,
		"POST /shop/cart":                          s.changeCart,
		"POST /shop/cart/buy":                      s.buy,
		"GET /shop/order":                          s.order,
		"POST /shop/order/confirm":                 s.confirmOrder,
		"POST /shop/policy":                        s.decidePolicy,
		"POST /shop/block":                         s.block,
		"POST /shop/sign-in":                       s.signIn,
		"POST /shop/sign-out":                      s.signOut,
		"POST /settings/privacy/consent/{purpose}": s.choose,
		"POST /settings/privacy/footprints/delete": s.deleteFootprints,
		"POST /settings/privacy/unblock":           s.unblock,
	} {
		mux.Handle(pattern, secure(s.handle(handler)))
	}
	mux.HandleFunc("GET /shop/image/{id}", s.image)
	api.Page = s.noPage
	return nil
}

// noPage answers a browser that asks for what is not there.
func (s *site) noPage(w http.ResponseWriter, r *http.Request, status int) {
	fault := errNotFound
	if status == http.StatusMethodNotAllowed {
		fault = errMethod
	}
	secure(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.newVisit(w, r).fail(fault) })).ServeHTTP(w, r)
}

// secure sets the headers of every page: nothing is loaded from elsewhere, no inline script runs, nobody frames it.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

var functions = template.FuncMap{
	"symbol": func(currency string) string {
		if currency == "GBP" {
			return "£"
		}
		return currency + " "
	},
	"number": func(n int) string { // 17,321
		text := strconv.Itoa(n)
		for i := len(text) - 3; i > 0; i -= 3 {
			text = text[:i] + "," + text[i:]
		}
		return text
	},
	"segment": url.PathEscape, // of a path: an id may hold what means something there
	"dict": func(pairs ...any) map[string]any {
		m := make(map[string]any, len(pairs)/2)
		for i := 0; i+1 < len(pairs); i += 2 {
			m[fmt.Sprint(pairs[i])] = pairs[i+1]
		}
		return m
	},
}
