package web

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// card is an item as a list shows it, with why it is there.
type card struct {
	Item
	Reasons []cause
}

// cause is why an item is in a list, and the item that caused it: one of the person's own, or of the page; nil = none in particular.
type cause struct {
	Text string
	Item *Item
}

// row is a titled list of cards.
type row struct {
	Title, Note      string
	Cards            []card
	RecommendationID string
	Surface          string
	Personalized     bool
}

// shelfSize is how many items a search or a category shows.
const shelfSize = 60

// demoUsers can sign in without a password: it is a demo.
var demoUsers = []string{"ada", "grace", "linus"}

// becauseNotes say, in a shopper's words, why a list is not personal.
var becauseNotes = map[string]string{
	"opted_out":  "Personalization is off. Everyone sees this list.",
	"no_consent": "Not personalized: the privacy notice has not been accepted.",
	"no_subject": "Not personalized: nobody is known here.",
	"no_history": "Not personalized yet: look at a few things first.",
	"degraded":   "Not personalized right now.",
	"surface":    "Everyone sees this list.",
}

func (s *site) home(v *visit) error {
	personal, err := v.recommend("home", nil, 12)
	if err != nil {
		return err
	}
	trending, err := v.list("trending", 12)
	if err != nil {
		return err
	}
	v.send("page_view", nil, "", "")
	v.impression(personal)
	return v.render("home", http.StatusOK, map[string]any{"Title": "Home", "Personal": personal, "Trending": trending, "Categories": s.Catalogue.Categories()})
}

func (s *site) item(v *visit) error {
	item, ok := s.Catalogue.Item(v.r.PathValue("id"))
	if !ok {
		return errNotFound
	}
	v.send("view_item", []string{item.ID}, "", v.r.URL.Query().Get("rec"))
	var answer recommendation
	err := s.API.do(v.r.Context(), v.person, http.MethodGet, "/v1/items/"+url.PathEscape(item.ID)+"/similar?limit=6", nil, &answer)
	if err != nil && !hasStatus(err, http.StatusNotFound) {
		return err
	}
	similar := s.row("People who looked at this also liked", "", answer)
	return v.render("item", http.StatusOK, map[string]any{"Title": item.Title, "Item": item, "Similar": similar})
}

func (s *site) category(v *visit) error {
	name := v.r.PathValue("name")
	items := s.Catalogue.InCategory(name, shelfSize)
	if len(items) == 0 {
		return errNotFound
	}
	return v.render("list", http.StatusOK, map[string]any{"Title": name, "Row": plainRow(name, items), "Category": name})
}

func (s *site) search(v *visit) error {
	query := v.r.URL.Query().Get("q")
	query = strings.ToValidUTF8(query[:min(len(query), 200)], "")
	items := s.Catalogue.Search(query, shelfSize)
	if query != "" {
		v.send("search", nil, query, "")
	}
	title := fmt.Sprintf("%s for “%s”", results(len(items)), query)
	return v.render("list", http.StatusOK, map[string]any{"Title": title, "Row": plainRow(title, items), "Query": query})
}

// results counts what a search has found; of more than a page shows nobody knows how many there are.
func results(n int) string {
	switch n {
	case 1:
		return "1 result"
	case shelfSize:
		return fmt.Sprintf("The first %d results", n)
	default:
		return fmt.Sprintf("%d results", n)
	}
}

func (s *site) cart(v *visit) error {
	var items []Item
	for _, id := range v.Cart {
		if item, ok := s.Catalogue.Item(id); ok {
			items = append(items, item)
		}
	}
	return v.render("cart", http.StatusOK, map[string]any{"Title": "Cart", "Row": plainRow("Your cart", items), "Items": items})
}

func (s *site) addToCart(v *visit) error {
	item, ok := s.Catalogue.Item(v.r.PathValue("id"))
	if !ok {
		return errNotFound
	}
	v.send("add_to_cart", []string{item.ID}, "", "")
	cart := append(slices.Clone(v.Cart), item.ID)
	v.setCookie(cookieCart, joined(cart[max(0, len(cart)-20):]), 24*time.Hour)
	v.tell(item.Title + " is in your cart.")
	return v.back("/shop/cart")
}

func (s *site) buy(v *visit) error {
	if len(v.Cart) > 0 {
		v.send("purchase", v.Cart, "", "")
	}
	v.setCookie(cookieCart, "", -time.Second)
	v.tell("Thank you. Your order is placed (nothing will arrive: this is a demo).")
	return v.back("/")
}

func joined(ids []string) string {
	var b bytes.Buffer
	for i, id := range ids {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(id)
	}
	return b.String()
}

func (s *site) signIn(v *visit) error {
	user := v.r.PostFormValue("user")
	if !slices.Contains(demoUsers, user) {
		return errNotFound
	}
	v.setCookie(cookieUser, user+"."+s.sign("user", user), 24*time.Hour)
	v.setCookie(cookieRevision, "", -time.Second) // it was the visitor's
	return v.back("/")
}

// signOut starts a fresh anonymous id, so that what follows joins neither the account nor the browser's past.
func (s *site) signOut(v *visit) error {
	v.setCookie(cookieUser, "", -time.Second)
	v.setCookie(cookieRevision, "", -time.Second)
	v.setCookie(cookieVisitor, randomID(), 365*24*time.Hour)
	return v.back("/")
}

// recommend asks for a list and names it honestly.
func (v *visit) recommend(surface string, items []string, limit int) (row, error) {
	ask := map[string]any{"surface": surface, "limit": limit, "context": map[string]any{"item_ids": items}}
	v.identify(ask)
	var answer recommendation
	if err := v.site.API.do(v.r.Context(), v.person, http.MethodPost, "/v1/recommendations", ask, &answer); err != nil {
		return row{}, err
	}
	title, note := "Recommended for you", ""
	if !answer.Personalized {
		title, note = "Popular right now", becauseNotes[answer.Because]
	}
	r := v.site.row(title, note, answer)
	r.Surface = surface
	return r, nil
}

func (v *visit) list(name string, limit int) (row, error) {
	var answer recommendation
	err := v.site.API.do(v.r.Context(), v.person, http.MethodGet, "/v1/lists/"+name+"?limit="+strconv.Itoa(limit), nil, &answer)
	return v.site.row("Trending in the shop", "Counted in people, not clicks; everyone sees the same.", answer), err
}

func (s *site) row(title, note string, answer recommendation) row {
	r := row{Title: title, Note: note, RecommendationID: answer.ID, Personalized: answer.Personalized}
	for _, ranked := range answer.Items {
		item, ok := s.Catalogue.Item(ranked.ItemID)
		if !ok {
			continue
		}
		c := card{Item: item}
		for _, why := range ranked.Reasons {
			because := cause{Text: why.Text}
			if from, ok := s.Catalogue.Item(why.ItemID); ok {
				because.Item = &from
			}
			c.Reasons = append(c.Reasons, because)
		}
		r.Cards = append(r.Cards, c)
	}
	return r
}

func plainRow(title string, items []Item) row {
	r := row{Title: title}
	for _, item := range items {
		r.Cards = append(r.Cards, card{Item: item})
	}
	return r
}

// identify adds the person to a request or an event.
func (v *visit) identify(body map[string]any) {
	if v.User != "" {
		body["user_id"] = v.User
	}
	body["anonymous_id"] = v.Anonymous
}

// send reports what the person did. A page is shown whether or not it could be reported.
func (v *visit) send(kind string, items []string, term, recommendation string) {
	now := time.Now().UTC().Format(time.RFC3339Nano)
	event := map[string]any{
		"id": randomID(), "type": kind, "time": now, "sent_at": now, "channel": "web", "surface": "storefront",
		"consent": map[string]any{"revision": v.Revision, "gpc": v.GPC},
	}
	v.identify(event)
	if len(items) > 0 {
		lines := make([]map[string]any, len(items))
		for i, id := range items {
			lines[i] = map[string]any{"item_id": id, "index": i, "quantity": 1}
		}
		event["items"] = lines
	}
	if term != "" {
		event["search_term"] = term
	}
	if recommendation != "" {
		event["recommendation_id"] = recommendation
	}
	if kind == "purchase" {
		event["order"] = map[string]any{"order_id": randomID()}
	}
	if err := v.site.API.do(v.r.Context(), v.person, http.MethodPost, "/v1/events", event, nil); err != nil {
		v.site.Logger.Warn("an event was not collected", "type", kind, "error", err)
	}
}

// impression reports which items a list showed.
func (v *visit) impression(r row) {
	if len(r.Cards) == 0 {
		return
	}
	ids := make([]string, len(r.Cards))
	for i, c := range r.Cards {
		ids[i] = c.ID
	}
	v.send("view_item_list", ids, "", r.RecommendationID)
}

// render writes a page into memory first, so that a failing template never leaves half of one.
func (v *visit) render(page string, status int, data map[string]any) error {
	data["V"] = v
	data["Here"] = v.r.URL.RequestURI()
	data["Users"] = demoUsers
	data["Attribution"] = v.site.Attribution
	if v.site.Shoppers != nil && v.site.Shoppers.N() > 0 {
		data["Shoppers"], data["OptedOut"] = v.site.Shoppers.N(), v.site.Shoppers.OptedOut()
	}
	if page != "error" {
		if err := v.policyNotice(page, data); err != nil {
			return err
		}
	}
	data["Notice"] = v.notice()
	var out bytes.Buffer
	if err := v.site.pages[page].Execute(&out, data); err != nil {
		return fmt.Errorf("rendering %s: %w", page, err)
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.Header().Set("Cache-Control", "no-store")
	v.w.WriteHeader(status)
	_, err := out.WriteTo(v.w)
	if err != nil {
		v.site.Logger.Debug("the browser went away", "error", err)
	}
	return nil
}
